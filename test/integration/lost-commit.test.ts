/**
 * A COMMIT whose answer was lost because its server was killed: the server that serves then is asked, by its binlog,
 * what became of it. What the answer says is compared with the rows that are there: a wrong one is a failure.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection, ResultSetHeader } from 'mysql2/promise';
import { findCommits, type CommitAnswer, type CommitQuestion } from '../../src/failover/lost/find-commit.ts';
import type { Held } from '../../src/failover/lost/held.ts';
import { forEachFlavour, WORDS, type LabFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair } from '../lab/pair.ts';
import { eventually } from '../support/eventually.ts';
import { configWith, untilSafe } from '../support/failovers.ts';
import { ApartLab, bounds, lines } from '../support/lost-lab.ts';

const CLIENTS = 8;

/** A client that writes transactions of two rows, the rows of each with a mark of its own, until its server dies. */
class Client {
  readonly id: number;
  readonly #connection: Connection;
  acknowledged = 0;
  #lastGtid: string | null = null;

  private constructor(id: number, connection: Connection) {
    this.id = id;
    this.#connection = connection;
  }

  static async open(apart: ApartLab, id: number): Promise<Client> {
    const connection = await apart.lab.connect(apart.lab.db1, ADMIN_ACCOUNT);
    if (apart.flavour === 'mysql97') await connection.query('set session session_track_gtids = OWN_GTID');
    return new Client(id, connection);
  }

  get mark(): string {
    return `<${this.id}.${this.acknowledged + 1}>`;
  }

  get savepoint(): string {
    return `mark_${this.id}_${this.acknowledged + 1}`;
  }

  /** Of the next transaction. */
  get statements(): string[] {
    const number = this.acknowledged + 1;
    return [1, 2].map(
      (part) => `insert into written values (${this.id}, ${number}, ${part}) /*${this.mark}*/`,
    );
  }

  async writeUntilDead(): Promise<void> {
    for (;;) {
      try {
        await this.writeOnce();
      } catch {
        return this.#connection.destroy();
      }
    }
  }

  async writeOnce(): Promise<void> {
    const number = this.acknowledged + 1;
    await this.#connection.query('start transaction');
    for (const statement of this.statements) await this.#connection.query(statement);
    await this.#connection.query(`savepoint ${this.savepoint}`);
    const [ok] = await this.#connection.query<ResultSetHeader>('commit');
    const { stateChanges } = ok as unknown as { stateChanges?: { gtids?: string[] } };
    this.#lastGtid = stateChanges?.gtids?.at(-1) ?? null;
    this.acknowledged = number;
  }

  get question(): CommitQuestion {
    return {
      threadId: this.#connection.threadId,
      earlier: this.#lastGtid === null ? { kind: 'none' } : { kind: 'gtid', gtid: this.#lastGtid },
      isAnother: () => false,
      mark: { kind: 'comment', name: this.mark },
      statements: [],
      rivals: null,
    };
  }
}

async function ask(apart: ApartLab, since: Held, ...questions: CommitQuestion[]): Promise<CommitAnswer[]> {
  const db2 = await apart.control(apart.lab.db2);
  return findCommits({ serverId: 1, since }, questions, apart.source(apart.lab.db2), db2, bounds);
}

/** What the rows at db2 say of the transaction that was not acknowledged. */
async function truthOf(apart: ApartLab, { id, acknowledged }: Client): Promise<string> {
  const sql = `select count(*) from written where client = ${id} and number = ${acknowledged + 1}`;
  const [count] = await lines(apart.db2, sql);
  assert.ok(count === '0' || count === '2', 'half a transaction');
  return count === '2' ? 'committed' : 'not_committed';
}

/** All that db2 has received is applied. */
async function untilApplied(apart: ApartLab): Promise<void> {
  await eventually(async () => {
    const [status] = await apart.lab.db2.query(WORDS[apart.flavour].replicaStatus);
    const state = status!['Replica_SQL_Running_State'] ?? status!['Slave_SQL_Running_State'];
    assert.match(String(state), /has read all relay log/i);
  });
}

/** Where db2's own binlog ends. */
async function placeOf(apart: ApartLab): Promise<{ file: string; position: number }> {
  const sql = apart.flavour === 'mysql97' ? 'show binary log status' : 'show master status';
  const [status] = await apart.lab.db2.query(sql);
  return { file: String(status!['File']), position: Number(status!['Position']) };
}

async function startApart(flavour: LabFlavour): Promise<{ apart: ApartLab; since: Held }> {
  // MariaDB logs the statements by default.
  const options = flavour === 'mysql97' ? ['--binlog-rows-query-log-events=ON'] : [];
  const apart = await ApartLab.start(flavour, options);
  await apart.db1.query(
    'create table written (client int, number int, part int, primary key (client, number, part))',
  );
  await eventually(() => lines(apart.db2, 'select count(*) from written'));
  return { apart, since: await apart.held() };
}

forEachFlavour(
  (flavour, words) => {
    suite(`a COMMIT whose answer was lost on ${flavour}`, () => {
      test('is found, or found missing, for every client of a primary that is killed under load', async (context) => {
        const { apart, since } = await startApart(flavour);
        context.after(() => apart.stop());
        const clients = await Promise.all(Array.from({ length: CLIENTS }, (_, id) => Client.open(apart, id)));
        const writing = clients.map((client) => client.writeUntilDead());
        await delay(400);
        await apart.lab.db1.kill();
        await Promise.all(writing);
        await untilApplied(apart);
        for (const client of clients) {
          assert.ok(client.acknowledged > 0);
          const [answer] = await ask(apart, since, client.question);
          assert.equal(answer!.outcome, await truthOf(apart, client), answer!.detail);
          // One that was acknowledged is there, by the same question.
          const earlier = {
            ...client.question,
            mark: { kind: 'comment', name: `<${client.id}.1>` } as const,
          };
          assert.equal((await ask(apart, since, earlier))[0]!.outcome, 'committed');
        }
      });

      for (const reaches of [true, false]) {
        const what = reaches
          ? 'reached the replica just before the end is found'
          : 'did not is found missing';
        test(`that ${what}, by its savepoint, by its comment, and by its statements`, async (context) => {
          const { apart, since } = await startApart(flavour);
          context.after(() => apart.stop());
          const client = await Client.open(apart, 1);
          await client.writeOnce();
          await untilApplied(apart);
          const place = await placeOf(apart);
          if (reaches) apart.lab.db2.pause();
          else await apart.db2.query(words.stopReceiver);
          // The primary waits for the replica's receipt, and the client for its answer.
          const writing = client.writeUntilDead();
          await delay(300);
          await apart.lab.db1.kill();
          await writing;
          apart.lab.db2.resume();
          assert.equal(client.acknowledged, 1);
          const expected = reaches ? 'committed' : 'not_committed';
          await eventually(async () => assert.equal(await truthOf(apart, client), expected));
          const { question } = client;
          const bySavepoint = {
            ...question,
            mark: { kind: 'savepoint', name: client.savepoint } as const,
          };
          const byTexts = { ...question, mark: null, statements: client.statements };
          const places = [since, { kind: 'position' as const, ...place }];
          for (const from of places) {
            const answers = await ask(
              apart,
              from,
              ...[bySavepoint, question, { ...byTexts, rivals: 0 }, { ...byTexts, rivals: 1 }],
            );
            assert.deepEqual(
              answers.map(({ outcome }) => outcome),
              // It may be somebody else's; that it is missing is certain all the same.
              [expected, expected, expected, reaches ? 'unknown' : expected],
            );
          }
        });
      }
    });
  },
  ['mariadb', 'mysql97'],
);

forEachFlavour(
  (flavour) => {
    test(`a COMMIT whose answer was lost on ${flavour} is found by the number of its session, and by its savepoint`, async (context) => {
      const { apart, since } = await startApart(flavour);
      context.after(() => apart.stop());
      const [writer, reader] = [await Client.open(apart, 1), await Client.open(apart, 2)];
      const mark = { kind: 'savepoint', name: writer.savepoint } as const;
      await writer.writeOnce();
      await eventually(async () => {
        assert.deepEqual(await lines(apart.db2, 'select count(*) from written'), ['2']);
      });
      const none = { kind: 'none' } as const;
      const answers = await ask(
        apart,
        since,
        { ...writer.question, earlier: none },
        { ...reader.question, earlier: none },
        { ...writer.question, mark },
        { ...reader.question, mark: { kind: 'savepoint', name: reader.savepoint } },
      );
      assert.deepEqual(
        answers.map(({ outcome }) => outcome),
        ['committed', 'not_committed', 'committed', 'not_committed'],
      );
    });
  },
  ['mysql56'],
);

/** How a client writes a row: in a transaction, by text or prepared, or alone. */
const WAYS = ['text', 'prepared', 'alone'] as const;

/** Writes row after row until `isOver`; answers the last one, and what its client was told of it. */
async function writeRows(connection: Connection, client: number, isOver: () => boolean): Promise<ToldRow> {
  const way = WAYS[client % WAYS.length]!;
  for (let number = 1; ; number++) {
    try {
      if (way !== 'alone') await connection.query('begin');
      if (way === 'prepared')
        await connection.execute('insert into written values (?, ?, 1)', [client, number]);
      else await connection.query(`insert into written values (${client}, ${number}, 1)`);
      if (way !== 'alone') await connection.query('commit');
      if (isOver()) return { client, number, told: 'committed' };
    } catch (error) {
      return { client, number, told: toldBy(error as Error & { errno?: number }) };
    }
  }
}

interface ToldRow {
  readonly client: number;
  readonly number: number;
  readonly told: string;
}

function toldBy({ errno, message }: Error & { errno?: number }): string {
  if (errno === 1213) return 'not_committed';
  return errno === 1158 && message.startsWith('This statement has taken effect') ? 'committed' : message;
}

forEachFlavour(
  (flavour) => {
    test(`with mark_commits = on every client hears what became of its write when the primary is killed, on ${flavour}`, async (context) => {
      const serverOptions = flavour === 'mysql97' ? ['--binlog-rows-query-log-events=ON'] : [];
      const lab = await startPair({ flavour, serverOptions });
      context.after(() => lab.stop());
      await lab.db1.query(
        'create table demo.written (client int, number int, part int, primary key (client, number, part))',
      );
      const config = { ...configWith(), 'listener write': { mark_commits: 'on' } };
      const proxy = await lab.startProxy({ config });
      await untilSafe(proxy, lab.db1, flavour);
      let isDead = false;
      const connections = await Promise.all(Array.from({ length: 12 }, () => proxy.connect('write')));
      const writing = connections.map((connection, client) => writeRows(connection, client, () => isDead));
      // What a server held before is known for moments that lie a second back.
      await delay(2_500);
      await lab.db1.kill();
      isDead = true;
      const rows = await Promise.all(writing);
      const there = new Set(
        (await lab.db2.query('select client, number from demo.written')).map(
          (row) => `${String(row['client'])}.${String(row['number'])}`,
        ),
      );
      for (const { client, number, told } of rows) {
        const truth = there.has(`${client}.${number}`) ? 'committed' : 'not_committed';
        assert.equal(told, truth, `row ${number} of client ${client}`);
      }
    });
  },
  ['mariadb', 'mysql97'],
);
