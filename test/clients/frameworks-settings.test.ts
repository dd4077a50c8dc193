/**
 * What frameworks and drivers send on connecting, and every SET in their sessions, must be understood and
 * repeatable on another connection: else a session is pinned to one connection before it has done anything.
 * The statements are real ones: captured, or read in the sources of what cannot be run here.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Settings } from '../../src/backend/settings.ts';
import { SessionRecord } from '../../src/frontend/session-record.ts';
import { applyAssignments, type TransactionNames } from '../../src/frontend/session-settings.ts';
import { Status } from '../../src/protocol/constants.ts';
import { classify } from '../../src/sql/classify.ts';
import { parseSet } from '../../src/sql/set-statement.ts';
import { Leave, Need, Statement, type SqlDialect } from '../../src/sql/statement.ts';
import { readFrameworkSessions, type FrameworkSession } from '../support/framework-sessions.ts';

/** Fewer sessions, or fewer SETs in them, and the vectors have been lost. */
const LEAST_SESSIONS = 38;
const LEAST_SETS = 150;

/** The reads of a list that each captured session has ten of, outside of any transaction. */
const LIST_READ = /^SELECT .*copies\W{0,3} ?<= /is;
const LISTS_OF_A_SESSION = 10;

const sessions = readFrameworkSessions();

describe('the sessions of frameworks', () => {
  it('are all there', () => {
    const sets = sessions.flatMap(linesOf).filter((line) => /^(?:Query|Prepare): set /i.test(line));
    assert.ok(sessions.length >= LEAST_SESSIONS, `${sessions.length} sessions`);
    assert.ok(sets.length >= LEAST_SETS, `${sets.length} SETs`);
  });

  for (const session of sessions) {
    const title = `${session.framework} (${session.version}) at ${session.server}`;
    it(`${title}: nothing of the set-up pins`, () => {
      for (const { setUp } of session.connections) {
        const client = new Client(session);
        for (const line of setUp) client.send(line);
        assert.deepEqual(client.pins, []);
      }
    });

    it(`${title}: every SET is understood and can be repeated`, () => {
      for (const connection of session.connections) {
        const client = new Client(session);
        for (const line of [...connection.setUp, ...connection.session]) {
          client.send(line);
          assert.deepEqual(client.settingPins, [], line);
        }
      }
    });
  }

  for (const session of sessions.filter(({ source }) => source === 'captured')) {
    it(`${session.framework} at ${session.server}: any server may answer the reads of its lists`, () => {
      const reads = session.connections
        .flatMap((connection) => connection.session.map(textOf))
        .filter((text) => LIST_READ.test(text));
      // The Go program prepares the read once and executes it ten times.
      const least = session.framework.startsWith('Go') ? 1 : LISTS_OF_A_SESSION;
      assert.ok(reads.length >= least, `${reads.length} reads`);
      for (const text of reads) assert.equal(classified(session, text, false).needs, 0, text);
    });
  }
});

/** The record of one connection that is told what a framework sends, each answered well and at once. */
class Client {
  readonly #session: FrameworkSession;
  readonly #record: SessionRecord;
  readonly #names: TransactionNames;
  #settings = Settings.initial('demo');
  #ansiQuotes = false;
  /** What SETs have pinned. */
  readonly settingPins: string[] = [];

  constructor(session: FrameworkSession) {
    this.#session = session;
    this.#names = namesOf(session);
    this.#record = new SessionRecord(this.#settings, dialectOf(session, false), this.#names.readOnly);
  }

  get pins(): string[] {
    return [...this.#record.pins.keys(), ...this.settingPins];
  }

  send(line: string): void {
    if (!/^(?:Query|Prepare): /.test(line)) return;
    const text = textOf(line);
    const statement = classified(this.#session, text, this.#ansiQuotes);
    const { needs, leaves } = statement;
    this.#record.answered({ needs, leaves, errno: 0, status: Status.AUTOCOMMIT, atHome: true }, 0);
    // Several statements in one packet are looked at as a whole, not each for itself.
    if ((leaves & Leave.SETTINGS) === 0 || (needs & Need.SEVERAL) !== 0) return;
    const bytes = Buffer.from(text);
    const assignments = parseSet(bytes, 0, bytes.length, dialectOf(this.#session, this.#ansiQuotes));
    const outcome = applyAssignments(this.#settings, assignments, this.#names);
    if (outcome.pin !== null) this.settingPins.push(outcome.pin);
    this.#settings = outcome.settings;
    if (/sql_mode\s*=.*\bANSI/i.test(text)) this.#ansiQuotes = true;
  }
}

const statement = new Statement();

function classified(session: FrameworkSession, text: string, ansiQuotes: boolean): Statement {
  const bytes = Buffer.from(text);
  classify(bytes, 0, bytes.length, dialectOf(session, ansiQuotes), statement);
  return statement;
}

function linesOf({ connections }: FrameworkSession): string[] {
  return connections.flatMap(({ setUp, session }) => [...setUp, ...session]);
}

/** Without the command of the protocol. */
function textOf(line: string): string {
  return line.slice(line.indexOf(': ') + 2);
}

function isMariaDb({ server }: FrameworkSession): boolean {
  return server.includes('MariaDB') && !server.includes('MySQL');
}

function dialectOf(session: FrameworkSession, ansiQuotes: boolean): SqlDialect {
  const version = isMariaDb(session) ? 101_100 : 90_700;
  return {
    ansiQuotes,
    noBackslashEscapes: false,
    characterSet: 'safe',
    isMariaDb: isMariaDb(session),
    minVersion: version,
    maxVersion: version,
  };
}

function namesOf(session: FrameworkSession): TransactionNames {
  return isMariaDb(session)
    ? { isolation: 'tx_isolation', readOnly: 'tx_read_only' }
    : { isolation: 'transaction_isolation', readOnly: 'transaction_read_only' };
}
