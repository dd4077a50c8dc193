/**
 * Plays a scenario on one side, direct or through the proxy: its sessions are clients of the raw protocol,
 * and what each step was answered is kept for comparison. Nothing that a server says stops it: an error, a
 * closed connection and an answer that does not come are answers, too.
 */
import { WireClient, type WireOptions, type WireParameter } from '../../support/wire-client.ts';
import { lenenc } from '../../support/wire-login.ts';
import { CLIENT_OPTIONS } from './clients.ts';
import { masked, type Answer } from './masks.ts';
import type { Action, LagAction, Scenario } from './scenario.ts';
import { usesOf } from './world.ts';

/** How to connect to this side. */
export interface Side {
  readonly port: number;
  /** Moves the replica; on the direct side there is none. */
  moveReplica(action: LagAction): Promise<void>;
}

/** Longer than any lock timeout of the servers. */
const ANSWER_TIMEOUT_MS = 8_000;

/** An id that no server gives to a prepared statement so soon. */
const NO_STATEMENT = 999_999;

/** Plays all steps; one answer for each, then one for how the sessions logged in. */
export async function play(scenario: Scenario, side: Side): Promise<Answer[]> {
  const sessions = Array.from({ length: scenario.sessions }, () => new SessionPlayer(scenario, side.port));
  const answers: Answer[] = [];
  try {
    const logins: Answer[] = [];
    for (const session of sessions) logins.push(await session.loginOrWhyNot());
    for (const step of scenario.steps) {
      // A new connection is promised nothing of what the one before has written.
      const isStranger = scenario.profile === 'own_writes' && 'do' in step && step.do === 'reconnect';
      if (isStranger) await side.moveReplica('catch_up');
      if ('lag' in step) {
        await side.moveReplica(step.lag);
        answers.push([]);
      } else answers.push(await sessions[step.session]!.act(step));
    }
    return [...answers, logins.flat()];
  } finally {
    for (const session of sessions) session.end();
  }
}

/** What MySQL 5.6 leaves to the next user of a connection, and dbproxy does not (docs/differences.md). */
const FORGET = 'set last_insert_id = 0, timestamp = default';

interface Slot {
  readonly id: number;
  readonly sql: string;
  /** Parameters whose values came as long data. */
  readonly long: Set<number>;
  /** An execution has sent the types. */
  typesSent: boolean;
}

/** One session of a scenario. */
class SessionPlayer {
  readonly #options: Partial<WireOptions> & { port: number };
  readonly #isOld: boolean;
  #client: WireClient | null = null;
  readonly #slots = new Map<number, Slot>();
  #before: Before = NOTHING;
  /** MySQL 5.6 through the write endpoint: ROW_COUNT() of a new session is that of the one before it. */
  readonly #hasOldRowCount: boolean;
  /** Ids of prepared statements as this session counts them, by the server's. */
  readonly #numbers = new Map<number, number>();

  constructor(scenario: Scenario, port: number) {
    const { user, flags, flavour, profile } = scenario;
    this.#isOld = flavour === 'mysql56';
    this.#hasOldRowCount = this.#isOld && profile === 'write';
    this.#options = {
      ...CLIENT_OPTIONS[flags],
      ...accountOf(user),
      port,
      database: 'w1',
      timeoutMs: ANSWER_TIMEOUT_MS,
    };
  }

  async loginOrWhyNot(): Promise<Answer> {
    try {
      return await this.#login();
    } catch (error) {
      return said((error as Error).message);
    }
  }

  async #login(): Promise<Answer> {
    this.#forget();
    this.#client = await WireClient.connect(this.#options);
    const { capabilities, extended, loginAnswer } = this.#client;
    return [
      ...welcomed(loginAnswer),
      ...said(`agreed on flags ${capabilities.toString(16)} ${extended.toString(16)}`),
    ];
  }

  end(): void {
    this.#client?.destroy();
    this.#client = null;
  }

  /** Does one step; what goes wrong on the way is the answer. */
  async act(action: Action): Promise<Answer> {
    if (this.#client === null && action.do !== 'reconnect') return said('the connection is closed');
    const sql = this.#textOf(action);
    const unclear = whyNotAsk(sql, this.#before, this.#hasOldRowCount);
    if (unclear !== null) return said(`left out: ${unclear}`);
    try {
      const answer = await this.#perform(action);
      const surplus = this.#client?.unasked ?? 0;
      const isClosed = answer.at(-1)?.kind === 'closed';
      if (isClosed) this.end();
      else if (surplus > 0) return this.#broken(`${surplus} packets that nobody asked for`);
      this.#before = wasBefore(action, sql, answer);
      return masked(this.#withoutIds(answer), sql);
    } catch (error) {
      return this.#broken((error as Error).message);
    }
  }

  #broken(why: string): Answer {
    this.end();
    return said(`broken: ${why}`);
  }

  async #perform(action: Action): Promise<Answer> {
    const client = this.#client;
    if (action.do === 'reconnect' || client === null) return this.#reconnect();
    switch (action.do) {
      case 'query':
        return client.query(action.latin1 === true ? Buffer.from(action.sql, 'latin1') : action.sql);
      case 'prepare':
        return this.#prepare(client, action.slot, action.sql);
      case 'execute':
        return this.#execute(client, action);
      case 'fetch':
        return client.fetch(this.#idIn(action.slot), action.rows);
      case 'long_data':
        this.#slots.get(action.slot)?.long.add(action.index);
        client.longData(this.#idIn(action.slot), action.index, Buffer.from(action.text));
        return [];
      case 'reset_statement':
        this.#slots.get(action.slot)?.long.clear();
        return client.resetStatement(this.#idIn(action.slot));
      case 'close':
        client.close(this.#idIn(action.slot));
        this.#slots.delete(action.slot);
        return [];
      case 'init_db':
        return uncounted(await client.single(0x02, Buffer.from(action.database)));
      case 'field_list':
        return client.fieldList(action.table);
      case 'set_option':
        return uncounted(await client.single(0x1b, Buffer.from([action.several ? 0 : 1, 0])));
      case 'reset': {
        const answer = await client.single(0x1f);
        if (answer.at(-1)?.kind === 'ok') this.#forget();
        return answer;
      }
      case 'change_user': {
        this.#forget();
        const { user, password } = accountOf(action.user);
        const answer = welcomed(await client.changeUser(user, password, action.database, 45));
        return this.#isOld ? [...answer, ...(await client.query(FORGET))] : answer;
      }
      case 'ping':
        return uncounted(await client.ping());
    }
  }

  async #reconnect(): Promise<Answer> {
    if (this.#client !== null) {
      this.#client.send(0x01);
      await this.#client.readClose();
      this.end();
    }
    return this.#login();
  }

  async #prepare(client: WireClient, slot: number, sql: string): Promise<Answer> {
    this.#slots.delete(slot);
    const answer = await client.prepare(sql);
    if (answer[0]?.kind === 'prepared') {
      const { id } = answer[0];
      this.#slots.set(slot, { id, sql, long: new Set(), typesSent: false });
      this.#numbers.set(id, this.#numbers.size + 1);
    }
    return answer;
  }

  async #execute(client: WireClient, action: Extract<Action, { do: 'execute' }>): Promise<Answer> {
    const slot = this.#slots.get(action.slot);
    const parameters = action.values.map((value, index) =>
      parameterOf(action.kinds[index] === 'n', value, slot?.long.has(index) ?? false),
    );
    slot?.long.clear();
    const typesToo = action.bare !== true || slot?.typesSent !== true;
    const cursor = action.cursor === true ? 1 : 0;
    const answer = await client.execute(this.#idIn(action.slot), parameters, { cursor, typesToo });
    if (slot !== undefined) slot.typesSent = !answer.some(({ kind }) => kind === 'error');
    return answer;
  }

  #idIn(slot: number): number {
    return this.#slots.get(slot)?.id ?? NO_STATEMENT;
  }

  #textOf(action: Action): string {
    switch (action.do) {
      case 'query':
        return action.sql;
      case 'execute':
      case 'fetch':
        return this.#slots.get(action.slot)?.sql ?? '';
      case 'prepare':
      case 'long_data':
      case 'reset_statement':
      case 'close':
      case 'init_db':
      case 'field_list':
      case 'set_option':
      case 'reset':
      case 'change_user':
      case 'ping':
      case 'reconnect':
        return '';
    }
  }

  /** Ids of statements count on for the life of a connection, which a pool may share: only their order counts. */
  #withoutIds(answer: Answer): Answer {
    const renumbered = (text: string): string =>
      text.replace(/(statement (?:handler )?\()(\d+)/, (_, before: string, id: string) => {
        return `${before}${this.#numbers.get(Number(id)) ?? id}`;
      });
    return answer.map((meaning) => {
      // eslint-disable-next-line @typescript-eslint/switch-exhaustiveness-check -- the others name no statement
      switch (meaning.kind) {
        case 'prepared':
          return { ...meaning, id: this.#numbers.get(meaning.id) ?? 0 };
        case 'error':
          return { ...meaning, message: renumbered(meaning.message) };
        case 'row':
          // SHOW WARNINGS tells the message again.
          return {
            ...meaning,
            cells: meaning.cells.map((cell) => (cell === null ? null : renumbered(cell))),
          };
        default:
          return meaning;
      }
    });
  }

  #forget(): void {
    this.#slots.clear();
    this.#numbers.clear();
    this.#before = NOTHING;
  }
}

/** Servers count in the OK of a command that is no statement the warnings of what came before, or of another session. */
function uncounted(answer: Answer): Answer {
  return answer.map((one) => (one.kind === 'ok' || one.kind === 'eof' ? { ...one, warnings: 0 } : one));
}

/** Without the talk about the password: how long it is depends on what caching_sha2_password has in its cache. */
function welcomed(answer: Answer): Answer {
  return uncounted(answer.filter(({ kind }) => kind !== 'auth')).map((one) => ({ ...one, sequence: 0 }));
}

function accountOf(user: string): { user: string; password: string } {
  return { user, password: user };
}

/** What the last statement of a session allows to be asked about it. */
interface Before {
  readonly isNothing: boolean;
  /** It was a SELECT that gave rows. */
  readonly gaveRows: boolean;
  /** It made the list of warnings, be it an empty one: it failed, or warned, or had to do with a table. */
  readonly madeWarnings: boolean;
}

const NOTHING: Before = { isNothing: true, gaveRows: false, madeWarnings: false };

function wasBefore(action: Action, sql: string, answer: Answer): Before {
  const isStatement = action.do === 'query' || action.do === 'execute';
  const complains = answer.some(
    (one) => one.kind === 'error' || ((one.kind === 'ok' || one.kind === 'eof') && one.warnings > 0),
  );
  const isSet = /^(\W|!\d+)*set\b/i.test(sql);
  return {
    isNothing: false,
    gaveRows: /^\W*(select|with|values|table)\b/i.test(sql) && answer[0]?.kind === 'column_count',
    madeWarnings: isStatement && (complains || (!isSet && usesOf(sql).size > 0)),
  };
}

/** Why a statement is not run, on neither side, because what it asks of the one before has no clear answer. */
function whyNotAsk(sql: string, before: Before, hasOldRowCount: boolean): string | null {
  if (/^[^;]*found_rows\(/i.test(sql) && !before.gaveRows) {
    return 'after EXPLAIN and on a new connection, MariaDB finds FOUND_ROWS() in memory it has used before';
  }
  if (/\b(warnings|errors|warning_count|error_count|diagnostics)\b/i.test(sql) && !before.madeWarnings) {
    return 'what has to do with no table leaves the list of an earlier statement on its own connection';
  }
  if (hasOldRowCount && before.isNothing && /\brow_count\b/i.test(sql)) {
    return 'MySQL 5.6 keeps ROW_COUNT() over a change of user';
  }
  return null;
}

function said(text: string): Answer {
  return [{ kind: 'text', text, sequence: 0, pieces: 0 }];
}

const LONGLONG = 8;
const STRING = 254;

/** A parameter of its kind, also where it is null; without bytes where they came as long data. */
function parameterOf(isNumber: boolean, value: string | number | null, isLong: boolean): WireParameter {
  const type = isNumber ? LONGLONG : STRING;
  if (isLong) return { type: STRING, value: Buffer.alloc(0) };
  if (value === null) return { type, value: null };
  if (isNumber) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return { type, value: bytes };
  }
  const bytes = Buffer.from(String(value), 'utf8');
  return { type, value: Buffer.concat([lenenc(bytes.length), bytes]) };
}
