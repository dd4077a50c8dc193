/**
 * All findings of one cluster: the rules of each server, and what can only be seen of all servers together.
 * Pure: the surveys go in, the findings come out, the worst first.
 */
import type { ClusterSurvey, Finding, ServerView, Severity } from './finding.ts';
import { primaryAmong } from './roles.ts';
import { semiSyncRules } from './semi-sync-rules.ts';
import { serverRules } from './server-rules.ts';
import type { Survey, Unreached } from './survey.ts';

/** What is wrong with a cluster. */
export function findingsOf(all: ClusterSurvey): Finding[] {
  const primary = primaryAmong(all.surveys);
  return sortFindings([
    ...all.unreached.map((one) => {
      const remedy = reachRemedy(one, all.cluster.monitorUser);
      return finding('error', 'reachable', one.backend.name, one.reason, remedy, true);
    }),
    ...clusterFindings(all, primary),
    ...all.surveys.flatMap((survey) =>
      findingsOfServer({ survey, primary, isPrimary: survey === primary, all }),
    ),
  ]);
}

/** What an account may do depends on the server, which did not say what it is; once it lets us in, that is told. */
function reachRemedy({ kind }: Unreached, user: string): string {
  switch (kind) {
    case 'access_denied':
      return `CREATE USER '${user}'@'%' IDENTIFIED BY '…'; and ask the doctor again, which names the grants it then lacks`;
    case 'refused':
      return 'start it; where it runs, see its port and bind_address (of Debian: 127.0.0.1): bind_address = 0.0.0.0';
    case 'timed_out':
      return 'see the network and firewalls between; where ping gets there, a DNS server may keep logins waiting: skip_name_resolve = ON';
    case 'host_unreachable':
      return 'see the network and firewalls between';
    case 'checker_broken':
    case 'too_many_connections':
    case 'protocol':
    case 'other':
      return '';
  }
}

/** The worst first, then by subject, each rule in the order of its table. */
export function sortFindings(findings: readonly Finding[]): Finding[] {
  const ranks: Record<Severity, number> = { error: 0, warning: 1, hint: 2 };
  return findings.toSorted((one, other) => ranks[one.severity] - ranks[other.severity]);
}

function findingsOfServer(view: ServerView): Finding[] {
  return [...serverRules, ...semiSyncRules].flatMap((row) =>
    row
      .look(view)
      .map((complaint) =>
        finding(
          complaint.severity ?? row.severity,
          row.id,
          view.survey.backend.name,
          complaint.words,
          complaint.remedy,
          row.blocksBootstrap,
        ),
      ),
  );
}

function clusterFindings({ cluster, surveys, unreached }: ClusterSurvey, primary: Survey | null): Finding[] {
  const { name } = cluster;
  const findings: Finding[] = [];
  const members = [...surveys, ...unreached].map(({ backend }) => backend);
  const eligible = members.filter(({ rwWeight }) => rwWeight > 0);
  if (eligible.length === 0) {
    const words = 'no backend has rw_weight above 0, so none may be the primary';
    findings.push(
      finding('error', 'eligible', name, words, 'rw_weight = 1 in two [backend] sections', false),
    );
  } else if (eligible.length === 1 && members.length > 1) {
    const words = `only ${eligible[0]!.name} has rw_weight above 0: nobody can take over from it`;
    findings.push(
      finding('warning', 'eligible', name, words, 'rw_weight = 1 in another [backend] section', false),
    );
  }
  const writable = surveys.filter(({ facts }) => !facts.readOnly).map(({ backend }) => backend.name);
  if (writable.length > 1) {
    const words = `${writable.join(' and ')} take writes: what one gets the others may never have`;
    const remedy = 'make all but one read-only: SET GLOBAL read_only = ON;';
    findings.push(finding('error', 'one_writer', name, words, remedy, false));
  } else if (writable.length === 0 && surveys.length > 0) {
    const words =
      primary === null
        ? 'no server takes writes, and none is followed by all others'
        : `no server takes writes; ${primary.backend.name} is followed by the others`;
    const remedy = primary === null ? `BOOTSTRAP CLUSTER ${name};` : `PROMOTE ${primary.backend.name};`;
    findings.push(finding('error', 'one_writer', name, words, `on the admin port: ${remedy}`, false));
  }
  if (new Set(surveys.map(({ words }) => words.family)).size > 1) {
    const words = 'MariaDB and MySQL in one cluster: their global ids do not fit each other';
    findings.push(finding('error', 'one_family', name, words, '', true));
  }
  return findings;
}

function finding(
  severity: Severity,
  id: string,
  subject: string,
  words: string,
  remedy: string,
  blocksBootstrap: boolean,
): Finding {
  return { severity, id, subject, words, remedy, blocksBootstrap };
}
