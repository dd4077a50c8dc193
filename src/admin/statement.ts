/**
 * What an operator can ask for, as values: the parser makes them, `execute.ts` carries them out.
 */
import type { BackendChange } from '../ipc/operations.ts';

/** Tables that SHOW answers. */
export type ShowTable =
  | 'clusters'
  | 'backends'
  | 'config-diff'
  | 'listeners'
  | 'pools'
  | 'users'
  | 'sessions'
  | 'status'
  | 'variables'
  | 'events'
  | 'digests'
  | 'diagnoses'
  | 'plan'
  | 'peer'
  | 'rules'
  | 'topology'
  | 'config'
  | 'version'
  | 'databases'
  | 'tables'
  | 'warnings'
  | 'seed-backends';

/** How a WHERE compares. */
export type Comparison = '=' | '!=' | '<' | '<=' | '>' | '>=' | 'like';

export interface Condition {
  column: string;
  comparison: Comparison;
  value: string;
}

/** `LIKE 'pattern'` on the naming column, or `WHERE column = value [AND …]`; texts are compared without case. */
export type Filter =
  { kind: 'all' } | { kind: 'like'; pattern: string } | { kind: 'where'; conditions: Condition[] };

/** One column of a SELECT that clients ask at their start. */
export interface SelectItem {
  /** What the column is called: its alias, or the text as written. */
  label: string;
  expression:
    | { kind: 'constant'; value: string | number | null }
    | { kind: 'variable'; name: string }
    | { kind: 'call'; name: string };
}

/** A statement of the admin port. */
export type Statement =
  | { kind: 'show'; table: ShowTable; filter: Filter }
  | { kind: 'help'; about: string }
  | { kind: 'set-backend'; backend: string; change: BackendChange }
  /** `keys` as a section of the file has them; `clone` fills it from another server, by default the primary. */
  | {
      kind: 'add-backend';
      backend: string;
      keys: Record<string, string>;
      clone: { from: string | null } | null;
    }
  | { kind: 'drop-backend'; backend: string }
  | { kind: 'promote'; backend: string; force: boolean }
  /** A null cluster means the only one, a null target the best one. */
  | {
      kind: 'change-primary';
      as: 'switchover' | 'failover';
      cluster: string | null;
      to: string | null;
      force: boolean;
      dryRun: boolean;
    }
  | { kind: 'rehearse'; cluster: string | null; to: string | null }
  | { kind: 'rejoin'; backend: string; mode: 'plain' | 'append' | 'discard'; dryRun: boolean }
  /** A null backend means all. */
  | { kind: 'lost-transactions'; backend: string | null; filter: Filter }
  /** A null cluster means all. */
  | { kind: 'maintenance'; on: boolean; cluster: string | null }
  /** A null primary, or source, is chosen. */
  | { kind: 'bootstrap'; cluster: string; primary: string | null; dryRun: boolean }
  | { kind: 'clone-backend'; backend: string; from: string | null; dryRun: boolean }
  /** A null cluster means all. */
  | { kind: 'reload-users'; cluster: string | null }
  | { kind: 'reload-tls' }
  /** Null: the only split listener; a new session. */
  | { kind: 'explain-route'; listener: string | null; sessionId: number | null; sql: string }
  | { kind: 'explain-session'; sessionId: number }
  | { kind: 'kill'; id: number; query: boolean }
  | { kind: 'shutdown'; now: boolean }
  /** What the other dbproxy of a pair has to say. */
  | { kind: 'peer'; message: string }
  /** The word of an operator that the other is gone. */
  | { kind: 'peer-gone' }
  | { kind: 'select'; items: SelectItem[] }
  /** What clients say on connecting and that means nothing here: SET NAMES, USE and their like. */
  | { kind: 'nothing' };
