/**
 * What semi-synchronous replication has to be, one row a rule, where the cluster's `semi_sync` is not off:
 * installed, waiting before a commit is seen by others, never giving up, on at the right side of each server,
 * working now, the same after a restart, and soon at work again when replicas connect anew.
 */
import { isOn } from '../monitor/flavour/row.ts';
import { commitWaitChanges } from '../monitor/flavour/semi-sync.ts';
import { semiSyncTimeoutMs } from '../monitor/flavour/setup.ts';
import { semiSyncWanted } from '../monitor/semi-sync.ts';
import {
  inFile,
  rule,
  setting,
  type Complaint,
  type ServerRule,
  type ServerView,
  type Severity,
} from './finding.ts';
import { follows } from './roles.ts';
import { standsBy, valueAtStart, variable, variableIsOn, wantedLogFile } from './survey.ts';

/** Above it a primary does wait for ever, in effect. */
const FOR_EVER_FROM_MS = 24 * 3_600_000;

export const semiSyncRules: readonly ServerRule[] = [
  underPolicy('semi_sync_installed', ({ survey }) => {
    const { plugins, primarySwitch, replicaSwitch } = survey.words.semiSync;
    const missing = [
      survey.variables.has(primarySwitch) ? null : plugins?.primary,
      survey.variables.has(replicaSwitch) ? null : plugins?.replica,
    ].filter((plugin) => plugin !== null && plugin !== undefined);
    if (missing.length === 0) return null;
    return {
      words: `${missing.map(({ name }) => name).join(' and ')} not installed: commits cannot wait for replicas`,
      remedy: missing.map(({ install }) => `${install};`).join(' '),
    };
  }),
  underPolicy('semi_sync_wait_point', ({ survey }) => {
    const { waitPoint } = survey.words.semiSync;
    if (waitPoint === null) {
      return {
        words: 'this version waits after the commit only: others may have seen what a failover then loses',
        remedy: 'MySQL 5.7 and later wait before it (AFTER_SYNC)',
        severity: 'warning',
      };
    }
    if (!survey.variables.has(waitPoint) || variable(survey, waitPoint).toUpperCase() === 'AFTER_SYNC')
      return null;
    return {
      words: `${waitPoint} is ${variable(survey, waitPoint)}: others may have seen what a failover then loses`,
      remedy: setting(survey, waitPoint, "'AFTER_SYNC'"),
    };
  }),
  underPolicy('semi_sync_timeout', semiSyncTimeout),
  underPolicy('semi_sync_waits_alone', ({ survey, isPrimary }) => {
    const { waitWithoutReplica } = survey.words.semiSync;
    const isWell = !survey.variables.has(waitWithoutReplica) || variableIsOn(survey, waitWithoutReplica);
    if (isWell || (!isPrimary && standsBy(survey))) return null;
    return {
      words: `${waitWithoutReplica} is off: without replicas it goes on alone at once`,
      remedy: setting(survey, waitWithoutReplica, 'ON'),
    };
  }),
  { id: 'semi_sync_switches', severity: 'error', blocksBootstrap: false, look: semiSyncSwitches },
  underPolicy('semi_sync_live', semiSyncLive),
  rule('semi_sync_at_start', 'hint', semiSyncAtStart),
  rule('semi_sync_log_size', 'hint', semiSyncLogSize),
];

/** What is an error where semi-sync is required is a warning where it is preferred. */
function underPolicy(id: string, look: (view: ServerView) => Complaint | null): ServerRule {
  return rule(id, 'error', (view) => {
    if (view.all.cluster.semiSync === 'off') return null;
    const complaint = look(view);
    return complaint && { severity: severityOf(view), ...complaint };
  });
}

function severityOf({ all }: ServerView): Severity {
  return all.cluster.semiSync === 'require' ? 'error' : 'warning';
}

function semiSyncTimeout({ survey, all, isPrimary }: ServerView): Complaint | null {
  const { timeout } = survey.words.semiSync;
  const policy = all.cluster.semiSync;
  if (policy === 'off' || !survey.variables.has(timeout)) return null;
  // Its commits wait for nobody; a promotion sets how long they do then.
  if (!isPrimary && standsBy(survey)) return null;
  const timeoutMs = Number(variable(survey, timeout));
  const remedy = setting(survey, timeout, String(semiSyncTimeoutMs(policy)));
  if (policy === 'require' && timeoutMs < FOR_EVER_FROM_MS) {
    return {
      words: `${timeout} is ${timeoutMs} ms: after that the primary acknowledges what no replica has`,
      remedy,
    };
  }
  if (policy === 'prefer' && timeoutMs >= FOR_EVER_FROM_MS) {
    return { words: `${timeout} is ${timeoutMs} ms: without replicas, writes wait for ever`, remedy };
  }
  return null;
}

function semiSyncSwitches({ survey, primary, all }: ServerView): Complaint[] {
  const policy = all.cluster.semiSync;
  if (primary === null) return [];
  const wishes = semiSyncWanted(
    policy,
    primary.backend.name,
    all.surveys.map((one) => ({
      name: one.backend.name,
      follows: follows(one, primary) && one.facts.replication?.receiver === 'running',
      waits: one.facts.semiSync.primary?.enabled === true,
    })),
  );
  const wish = wishes.find(({ name }) => name === survey.backend.name);
  if (wish === undefined) return [];
  const { words, variables } = survey;
  const { primarySwitch, replicaSwitch } = words.semiSync;
  const complaints: Complaint[] = [];
  // Not for good: it changes with the next promotion.
  const remedy = (changes: readonly (readonly [string, string])[]): string =>
    changes.map(([name, value]) => `SET GLOBAL ${name} = ${value};`).join(' ');
  const severity = severityOf({ survey, primary, all, isPrimary: false });
  if (variables.has(primarySwitch)) {
    const isOff = !variableIsOn(survey, primarySwitch);
    // One that is on and stands by although it is the primary has a rule of its own.
    if (wish.waits ? isOff : !isOff && !standsBy(survey)) {
      complaints.push({
        words: `${primarySwitch} is ${isOff ? 'off' : 'on'}: ${whyPrimarySwitch(survey === primary, wish.waits)}`,
        remedy: wish.waits
          ? remedy([[primarySwitch, 'ON']])
          : remedy(commitWaitChanges(words.semiSync, policy, false, variables)),
        severity,
      });
    }
  }
  if (variables.has(replicaSwitch) && variableIsOn(survey, replicaSwitch) !== wish.acknowledges) {
    complaints.push(
      wish.acknowledges
        ? {
            words: `${replicaSwitch} is off: it acknowledges nothing`,
            remedy: remedy([[replicaSwitch, 'ON']]),
            severity,
          }
        : {
            words: `${replicaSwitch} is on: a primary has no source`,
            remedy: remedy([[replicaSwitch, 'OFF']]),
            severity: 'hint',
          },
    );
  }
  return complaints;
}

function whyPrimarySwitch(isPrimary: boolean, on: boolean): string {
  if (on) return 'commits do not wait for a replica';
  return isPrimary
    ? 'every write waits for a replica, and there is none'
    : 'on a replica it makes the applier wait for nobody, and the server cannot be stopped';
}

function semiSyncLive({ survey, isPrimary }: ServerView): Complaint | null {
  const side = survey.facts.semiSync.primary;
  if (!isPrimary || side === null || !side.enabled || (side.live && side.clients > 0)) return null;
  return {
    words: side.live
      ? 'it waits for replicas, and none is connected that acknowledges: every write waits'
      : 'it is on, but not in effect: the primary goes on alone since a wait took too long',
    remedy: 'see why no replica acknowledges: SHOW BACKENDS, and the replicas’ own findings',
  };
}

/** Between its start and our first look a replica should acknowledge, and not wait for others itself. */
function semiSyncAtStart({ survey, all }: ServerView): Complaint | null {
  const { replicaSwitch, primarySwitch } = survey.words.semiSync;
  if (all.cluster.semiSync === 'off' || !survey.variables.has(replicaSwitch)) return null;
  const acknowledges = valueAtStart(survey, replicaSwitch);
  const waits = valueAtStart(survey, primarySwitch);
  const isWell = acknowledges !== null && isOn(acknowledges) && (waits === null || !isOn(waits));
  if (isWell) return null;
  const { persists } = survey.words;
  return {
    words:
      acknowledges === null && !persists
        ? `whether it acknowledges after a restart cannot be told, as ${replicaSwitch} was set while it ran`
        : 'after a restart it would not acknowledge until dbproxy switches that on',
    remedy: persists
      ? `SET PERSIST_ONLY ${replicaSwitch} = ON; SET PERSIST_ONLY ${primarySwitch} = OFF;`
      : inFile(survey, `${replicaSwitch} = ON`, `${primarySwitch} = OFF`),
  };
}

/** Commits wait for replicas that have connected anew, and those wait until the server has found their place. */
function semiSyncLogSize({ survey, all }: ServerView): Complaint | null {
  const wanted = wantedLogFile(survey);
  const bytes = Number(variable(survey, 'max_binlog_size'));
  if (all.cluster.semiSync === 'off' || wanted === null || bytes <= wanted) return null;
  const megabytes = Math.round(bytes / 1024 ** 2);
  return {
    words: `max_binlog_size is ${megabytes} MB: after a switchover writes wait until it has looked through the newest file of its binary log for the place of its replicas, up to 0.4 s for 1 GB`,
    remedy: setting(survey, 'max_binlog_size', String(wanted)),
  };
}
