/**
 * A finding: one thing that is not as it should be, in words, with what mends it. The rules that make findings
 * are tables (`server-rules`, `semi-sync-rules`, `cluster-rules`); this is what they have in common.
 */
import type { ClusterConfig } from '../config/config.ts';
import type { Survey, Unreached } from './survey.ts';

/** error: it does not work so. warning: it works until something happens. hint: it could be better. */
export type Severity = 'error' | 'warning' | 'hint';

export interface Finding {
  readonly severity: Severity;
  /** The rule that found it. */
  readonly id: string;
  /** The backend or cluster it is about. */
  readonly subject: string;
  readonly words: string;
  /** SQL, or lines for a file; empty when there is nothing that would be the same everywhere. */
  readonly remedy: string;
  /** BOOTSTRAP cannot mend it, and does not begin while it is so. */
  readonly blocksBootstrap: boolean;
}

/** What replication_user met when it was tried at a server, from here. */
export type LoginTrial =
  | { readonly kind: 'in'; readonly grants: readonly string[] }
  | { readonly kind: 'denied' | 'failed'; readonly reason: string };

/** A cluster as it was found. */
export interface ClusterSurvey {
  readonly cluster: ClusterConfig;
  readonly surveys: readonly Survey[];
  readonly unreached: readonly Unreached[];
  /** By backend. */
  readonly replicationLogins: ReadonlyMap<string, LoginTrial>;
}

/** What a rule says of one server: nothing when all is well. */
export interface Complaint {
  readonly words: string;
  readonly remedy: string;
  /** Where it is not the rule's own. */
  readonly severity?: Severity;
}

/** What a rule about one server can see. */
export interface ServerView {
  readonly survey: Survey;
  /** Null when it is not clear. */
  readonly primary: Survey | null;
  readonly isPrimary: boolean;
  readonly all: ClusterSurvey;
}

export interface ServerRule {
  readonly id: string;
  readonly severity: Severity;
  readonly blocksBootstrap: boolean;
  look(view: ServerView): readonly Complaint[];
}

/** A rule that finds at most one thing. */
export function rule(
  id: string,
  severity: Severity,
  look: (view: ServerView) => Complaint | null,
  blocksBootstrap = false,
): ServerRule {
  return {
    id,
    severity,
    blocksBootstrap,
    look: (view) => [look(view)].filter((complaint) => complaint !== null),
  };
}

/** Lines for the server's own file, to be read at its next start. */
export function inFile(survey: Survey, ...lines: string[]): string {
  const file = survey.words.family === 'mariadb' ? 'my.cnf, section [mariadb]' : 'my.cnf, section [mysqld]';
  return `in ${file}, then restart the server: ${lines.join('; ')}`;
}

/**
 * A setting that can be changed at once and is to stay: in SQL where the server keeps it, else also in its file, which is
 * said in a comment, so that the whole can be pasted.
 */
export function setting(survey: Survey, name: string, value: string): string {
  if (survey.words.persists) return `SET PERSIST ${name} = ${value};`;
  return `SET GLOBAL ${name} = ${value}; /* and in my.cnf: ${name} = ${value} */`;
}
