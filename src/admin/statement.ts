/**
 * What an operator can ask for, as values: the parser makes them, `execute.ts` carries them out.
 */
import type { BackendChange } from '../ipc/operations.ts';

/** Tables that SHOW answers. */
export type ShowTable =
  | 'clusters'
  | 'backends'
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
  | 'rules'
  | 'topology'
  | 'config'
  | 'version'
  | 'databases'
  | 'tables'
  | 'warnings'
  | 'seed-backends';

/** `LIKE 'pattern'` on the naming column, or `WHERE column = value [AND …]`; compared without case. */
export type Filter =
  | { kind: 'all' }
  | { kind: 'like'; pattern: string }
  | { kind: 'where'; conditions: { column: string; value: string }[] };

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
  | { kind: 'promote'; backend: string }
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
  | { kind: 'select'; items: SelectItem[] }
  /** What clients say on connecting and that means nothing here: SET NAMES, USE and their like. */
  | { kind: 'nothing' };
