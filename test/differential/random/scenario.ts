/**
 * A scenario of the differential random test, as plain data: so it can be printed, kept in a file, cut down
 * and run again. Sessions act one after the other, never two at once; steps without a session change how
 * far the replica is behind.
 */
import type { LabFlavour } from '../../lab/flavours.ts';

/** What a session can do in one step. */
export type Action =
  /** `latin1`: the text's characters are the bytes to send, for character sets of several bytes. */
  | { do: 'query'; sql: string; latin1?: true }
  | { do: 'prepare'; slot: number; sql: string }
  /**
   * `kinds`: a letter for each value, n(umber) or s(tring), also where it is null. `bare`: without the types
   * of the values, where an execution before this one has sent them.
   */
  | {
      do: 'execute';
      slot: number;
      kinds: string;
      values: readonly (string | number | null)[];
      cursor?: true;
      bare?: true;
    }
  | { do: 'fetch'; slot: number; rows: number }
  | { do: 'long_data'; slot: number; index: number; text: string }
  | { do: 'reset_statement'; slot: number }
  | { do: 'close'; slot: number }
  | { do: 'init_db'; database: string }
  | { do: 'field_list'; table: string }
  /** COM_SET_OPTION: several statements in one packet, on or off. */
  | { do: 'set_option'; several: boolean }
  | { do: 'reset' }
  | { do: 'change_user'; user: string; database: string }
  | { do: 'ping' }
  /** COM_QUIT and a new connection. */
  | { do: 'reconnect' };

/**
 * hold: replication goes on, but the replica is made to wait at the next change, until release; stop and
 * start: its applier; catch_up: wait until the replica has all.
 */
export type LagAction = 'hold' | 'release' | 'stop' | 'start' | 'catch_up';

export type Step = ({ session: number } & Action) | { lag: LagAction };

/** How the endpoint is configured; see endpoints.ts. */
export type ProfileName =
  'direct' | 'write' | 'session' | 'transaction' | 'pipelined' | 'adaptive' | 'own_writes' | 'tight';

/** What clients ask for at login; see clients.ts. */
export type ClientFlags = 'old' | 'several' | 'modern' | 'found_rows' | 'mariadb' | 'attributes';

export interface Scenario {
  flavour: LabFlavour;
  profile: ProfileName;
  /** null for one that was written by hand or cut down. */
  seed: number | null;
  flags: ClientFlags;
  /** The account of all sessions: an ordinary one, or one that may write on a read-only server. */
  user: 'app' | 'root2';
  /** There is a trigger that sets a user variable: then any write may leave one behind, and pins. */
  variablesByTrigger: boolean;
  sessions: number;
  steps: readonly Step[];
}

/** A step as one line. */
export function stepLine(step: Step): string {
  if ('lag' in step) return `   replica: ${step.lag}`;
  return `${String(step.session).padStart(2)} ${actionWords(step)}`;
}

function actionWords(step: Action): string {
  switch (step.do) {
    case 'query':
      return `${step.sql}${step.latin1 === true ? '   (as latin1 bytes)' : ''}`;
    case 'prepare':
      return `PREPARE #${step.slot}: ${step.sql}`;
    case 'execute': {
      const how = `${step.cursor === true ? ' with a cursor' : ''}${step.bare === true ? ' without types' : ''}`;
      return `EXECUTE #${step.slot} ${JSON.stringify(step.values)} as ${step.kinds || 'nothing'}${how}`;
    }
    case 'fetch':
      return `FETCH #${step.slot}, ${step.rows} rows`;
    case 'long_data':
      return `LONG DATA #${step.slot}, parameter ${step.index}: ${step.text}`;
    case 'reset_statement':
      return `RESET #${step.slot}`;
    case 'close':
      return `CLOSE #${step.slot}`;
    case 'init_db':
      return `INIT DB ${step.database}`;
    case 'field_list':
      return `FIELD LIST ${step.table}`;
    case 'set_option':
      return `SET OPTION several statements ${step.several ? 'on' : 'off'}`;
    case 'reset':
      return 'RESET CONNECTION';
    case 'change_user':
      return `CHANGE USER ${step.user}, database ${step.database || 'none'}`;
    case 'ping':
      return 'PING';
    case 'reconnect':
      return 'QUIT, then a new connection';
  }
}
