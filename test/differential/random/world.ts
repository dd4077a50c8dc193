/**
 * What the generator must know so that no step waits for another session: who holds which table. It reads
 * the text of a step, roughly, and errs towards "holds". Where it errs the other way a step waits for the
 * lock timeout of a second or two and both sides report the same error: slow, but no false alarm.
 */
import { MOST_SESSIONS } from './schema.ts';
import type { Action, Step } from './scenario.ts';

/** How a statement uses a table; each is stronger than the one before. */
type Use = 'reads' | 'writes' | 'changes';

/**
 * How a session goes on holding a table. shared: it has read it in a transaction; frozen: LOCK TABLES READ;
 * locked: rows of it; exclusive: LOCK TABLES WRITE.
 */
type Hold = 'shared' | 'frozen' | 'locked' | 'exclusive';

/** Which use waits for which hold of another session. */
const WAITS: Readonly<Record<Use, readonly Hold[]>> = {
  reads: ['exclusive'],
  writes: ['frozen', 'locked', 'exclusive'],
  changes: ['shared', 'frozen', 'locked', 'exclusive'],
};

const MINE = Array.from({ length: MOST_SESSIONS }, (_, index) => `mine${index}`);
const TABLES = [
  ...['item', 'kind', 'sale', 'pairs', 'audit', 'watched', 'shape', 'parent', 'child', 'types', 'only_here'],
  ...['seq', 'made0', 'made1', ...MINE],
];

/** Tables that come along with a name. */
const BEHIND: Readonly<Record<string, readonly string[]>> = {
  parent: ['child'],
  child: ['parent'],
  watched: ['audit'],
  v_plain: ['item', 'kind'],
  v_stock: ['item'],
  v_reads: ['kind', 'item'],
  v_made: ['item', 'made0', 'made1'],
  f_count: ['item'],
  p_read: ['item'],
  p_two: ['kind'],
  p_dynamic: ['pairs'],
  p_settings: [],
};

/** Names behind which something is written, whatever the statement that names them. */
const WRITES_BEHIND: Readonly<Record<string, readonly string[]>> = {
  v_hidden: ['audit', 'kind'],
  f_write: ['audit'],
  f_insert_id: ['audit'],
  p_write: ['audit'],
  p_fails: ['audit'],
  p_transaction: ['audit'],
  p_opens: ['audit'],
  nextval: ['seq'],
  setval: ['seq'],
};

const STRENGTH: readonly Use[] = ['reads', 'writes', 'changes'];

/** Which tables a text uses, and how. */
export function usesOf(sql: string): Map<string, Use> {
  const uses = new Map<string, Use>();
  const add = (table: string, use: Use): void => {
    const before = uses.get(table);
    if (before === undefined || STRENGTH.indexOf(before) < STRENGTH.indexOf(use)) uses.set(table, use);
  };
  const text = sql.toLowerCase();
  const use = useOf(text);
  for (const name of new Set(text.match(/[a-z_][a-z_0-9]*/g))) {
    if (TABLES.includes(name)) add(name, use);
    for (const table of BEHIND[name] ?? []) add(table, use);
    for (const table of WRITES_BEHIND[name] ?? []) add(table, 'writes');
  }
  return uses;
}

function useOf(text: string): Use {
  if (/^\s*lock tables\b.*\bwrite\b/s.test(text)) return 'changes';
  if (/\b(create|alter|drop|truncate|rename|optimize|analyze)\b/.test(text)) return 'changes';
  if (
    /\b(insert|update|delete|replace|load|for share|share mode|nextval|value for|lock|checksum)\b/.test(text)
  )
    return 'writes';
  return 'reads';
}

/** Words after which a session may have to stay on its connection. */
const PINNING = [
  /\b(call|begin|xa|lock|handler|\w+_lock|temporary|prepare|execute|connection_id|autocommit|completion_type)\b/,
  /\b(start transaction|nextval|next value|lastval|setval|get diagnostics|sql_calc_found_rows|set transaction)\b/,
  // Several statements, perhaps; a SET that fails, or that is for one statement.
  /;|no_such|max_connections|set statement|\b(insert_id|last_insert_id|identity|timestamp|rand_seed1) *:?=/,
  // A function of our own; a variable that is given what is not a literal.
  /\bf_\w+\s*\(|:=|\binto\s+@|@\w+\s*=\s*(?!['\d-]|null|true)/,
];

/** What asks about the statement before, of the connection that ran it. */
const ASKING_BACK =
  /\b(found_rows|row_count|last_insert_id|identity|warnings|errors|warning_count|error_count|diagnostics|previous value)\b/i;

/** True of an action that asks about the one before: refused once another session had the connection. */
export function asksBack(action: Action): boolean {
  return (action.do === 'query' || action.do === 'prepare') && ASKING_BACK.test(action.sql);
}

/** True of an action that may keep a session on its connection: for endpoints that have few of these. */
export function mayPin(action: Action): boolean {
  if (action.do === 'long_data' || (action.do === 'execute' && action.cursor === true)) return true;
  if (action.do !== 'query' && action.do !== 'prepare') return false;
  if (action.do === 'query' && action.latin1 === true) return true;
  const text = action.sql.toLowerCase();
  return PINNING.some((words) => words.test(text));
}

/** One session as the generator knows it. */
export class SessionModel {
  readonly index: number;
  /** It may hold what pins it to a connection. */
  readonly mayPin: boolean;
  database: 'w1' | 'w2' = 'w1';
  /** A transaction is open, or may be. */
  inTransaction = false;
  autocommit = true;
  /** It has asked for SERIALIZABLE since it began: its reads lock. */
  serializable = false;
  /** It has set completion_type: the end of a transaction may begin the next. */
  chains = false;
  userLocks = false;
  tablesLocked = false;
  /** Texts by slot of a prepared statement, and by the name of one prepared as text. */
  readonly slots = new Map<number, { sql: string; kinds: string }>();
  readonly named = new Map<string, string>();
  readonly holds = new Map<string, Set<Hold>>();

  constructor(index: number, mayPin: boolean) {
    this.index = index;
    this.mayPin = mayPin;
  }

  /** As after a login. */
  reset(): void {
    this.inTransaction = false;
    this.autocommit = true;
    this.serializable = false;
    this.chains = false;
    this.userLocks = false;
    this.tablesLocked = false;
    this.slots.clear();
    this.named.clear();
    this.holds.clear();
  }

  holdsAs(table: string, hold: Hold): boolean {
    return this.holds.get(table)?.has(hold) ?? false;
  }
}

export class World {
  readonly sessions: readonly SessionModel[];

  /** @param mayPin A truth for each session. */
  constructor(mayPin: readonly boolean[]) {
    this.sessions = mayPin.map((one, index) => new SessionModel(index, one));
  }

  /** True when the step would wait for what another session holds. */
  wouldWait(step: Step): boolean {
    if ('lag' in step) return false;
    const me = this.sessions[step.session]!;
    const sql = this.#textOf(me, step);
    if (sql === null) return false;
    for (const [table, use] of usesOf(sql)) {
      const asUse = use === 'reads' && me.serializable ? 'writes' : use;
      for (const other of this.sessions) {
        if (other === me) continue;
        if (WAITS[asUse].some((hold) => other.holdsAs(table, hold))) return true;
      }
    }
    return false;
  }

  /** Takes note of a step that will run. */
  note(step: Step): void {
    if ('lag' in step) return;
    const me = this.sessions[step.session]!;
    const sql = this.#textOf(me, step);
    if (step.do === 'prepare') me.slots.set(step.slot, { sql: step.sql, kinds: '' });
    if (step.do === 'reset' || step.do === 'reconnect') me.reset();
    if (step.do === 'change_user') me.reset();
    if (step.do === 'init_db' || step.do === 'change_user')
      me.database = asDatabase(step.database, me.database);
    if (step.do === 'reconnect') me.database = 'w1';
    if (sql !== null) noteText(me, sql);
  }

  /** The text that a step runs, or one that it may hold tables by. */
  #textOf(me: SessionModel, step: { session: number } & Action): string | null {
    switch (step.do) {
      case 'query': {
        const name = /\bexecute\s+(\w+)/i.exec(step.sql)?.[1];
        const behind = name === undefined ? undefined : me.named.get(name.toLowerCase());
        return behind === undefined ? step.sql : `${step.sql} ${behind}`;
      }
      case 'prepare':
        // Preparing looks at the tables, and holds them in a transaction.
        return `select ${[...usesOf(step.sql).keys()].join(', ')}`;
      case 'execute':
      case 'fetch':
        return me.slots.get(step.slot)?.sql ?? null;
      case 'field_list':
        return `select ${step.table}`;
      case 'long_data':
      case 'reset_statement':
      case 'close':
      case 'init_db':
      case 'set_option':
      case 'reset':
      case 'change_user':
      case 'ping':
      case 'reconnect':
        return null;
    }
  }
}

function asDatabase(name: string, otherwise: 'w1' | 'w2'): 'w1' | 'w2' {
  return name === 'w1' || name === 'w2' ? name : otherwise;
}

/** What a text leaves behind, by its words. */
function noteText(me: SessionModel, sql: string): void {
  const text = sql.toLowerCase().trim();
  const isTemporary = /\btemporary\b/.test(text);
  if (/^(create|alter|drop|truncate|rename|analyze|optimize)\b/.test(text) && !isTemporary)
    endTransaction(me);
  if (/^(begin|start transaction)\b/.test(text)) {
    endTransaction(me);
    unlockTables(me);
    me.inTransaction = true;
  }
  if (/\bp_opens\b/.test(text)) me.inTransaction = true;
  noteSettings(me, text);
  noteUse(me, text);
  if (/^(commit|rollback)\b(?!.*\bto\b)/.test(text)) {
    endTransaction(me);
    if (/\bchain\b/.test(text)) me.inTransaction = true;
  }
  if (/^xa (start|begin)\b/.test(text)) me.inTransaction = true;
  if (/^xa (commit|rollback)\b/.test(text)) endTransaction(me);
  if (/^(unlock tables|handler\s+\w+\s+close)\b/.test(text)) unlockTables(me);
  noteLocks(me, text);
  const database = /^use\s+`?(w[12])/.exec(text)?.[1];
  if (database !== undefined) me.database = asDatabase(database, me.database);
  const prepared = /^prepare\s+(\w+)\s+from\s+(.*)$/s.exec(text);
  if (prepared !== null) me.named.set(prepared[1]!, prepared[2]!);
}

function noteSettings(me: SessionModel, text: string): void {
  if (!/\bset\b/.test(text)) return;
  if (/serializable/.test(text)) me.serializable = true;
  if (/completion_type/.test(text)) me.chains = me.inTransaction = true;
  const autocommit = /\bautocommit\b\s*:?=\s*(\w+)/.exec(text)?.[1];
  if (autocommit === undefined) return;
  me.autocommit = ['1', 'on', 'true', 'default'].includes(autocommit);
  if (me.autocommit) endTransaction(me);
}

function noteUse(me: SessionModel, text: string): void {
  if (!me.autocommit) me.inTransaction = true;
  if (/^handler\s+\w+\s+open/.test(text)) for (const table of usesOf(text).keys()) hold(me, table, 'frozen');
  if (!me.inTransaction) return;
  for (const [table, use] of usesOf(text)) {
    if (use === 'changes') continue;
    hold(me, table, use === 'writes' || me.serializable ? 'locked' : 'shared');
  }
}

function noteLocks(me: SessionModel, text: string): void {
  if (/\bget_lock\b/.test(text)) me.userLocks = true;
  if (!/^lock tables\b/.test(text)) return;
  endTransaction(me);
  unlockTables(me);
  me.tablesLocked = true;
  for (const part of text.slice('lock tables'.length).split(',')) {
    const mode = /\bwrite\b/.test(part) ? 'exclusive' : 'frozen';
    for (const table of usesOf(part).keys()) hold(me, table, mode);
  }
}

function hold(me: SessionModel, table: string, as: Hold): void {
  const holds = me.holds.get(table) ?? new Set<Hold>();
  holds.add(as);
  me.holds.set(table, holds);
}

function endTransaction(me: SessionModel): void {
  me.inTransaction = !me.autocommit || me.chains;
  for (const holds of me.holds.values()) {
    holds.delete('shared');
    holds.delete('locked');
  }
}

function unlockTables(me: SessionModel): void {
  me.tablesLocked = false;
  for (const holds of me.holds.values()) {
    holds.delete('frozen');
    holds.delete('exclusive');
  }
}
