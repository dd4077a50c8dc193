/** The rules by which a COMMIT without an answer is resolved; each "unknown" is one that must not be guessed. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { systemClock } from '../../../../src/base/clock.ts';
import type { BinlogSource } from '../../../../src/failover/lost/dump.ts';
import {
  answer,
  findCommits,
  tracesFor,
  type CommitQuestion,
  type CommitSearch,
  type Trace,
} from '../../../../src/failover/lost/find-commit.ts';

import type { Held } from '../../../../src/failover/lost/held.ts';

const UUID = '3e11fa47-71ca-11e1-9e33-c80aa9429562';

const SEARCH: CommitSearch = { serverId: 1, since: { kind: 'mysql', gtids: `${UUID}:1-100` } };

const QUESTION: CommitQuestion = {
  threadId: 7,
  earlier: { kind: 'unknown' },
  isAnother: () => false,
  mark: null,
  statements: [],
  rivals: null,
};

function trace(number: number, further: Partial<Trace> = {}): Trace {
  const gtid = `${UUID}:${number}`;
  return {
    gtid,
    threadId: 99,
    place: gtid,
    file: 'binlog.000009',
    position: number,
    texts: [],
    savepoints: [],
    ...further,
  };
}

interface Case {
  readonly name: string;
  readonly question: Partial<CommitQuestion>;
  readonly traces: readonly Trace[];
  readonly tellsSessions?: true;
  readonly lacksSavepoints?: true;
  readonly outcome: 'committed' | 'not_committed' | 'unknown';
  readonly number?: number;
}

const insert = 'insert into t values (1)';
const COMMENT = { kind: 'comment', name: 'm73' } as const;
const SAVEPOINT = { kind: 'savepoint', name: 'm73' } as const;
const update = 'update t set a = 2';

const CASES: readonly Case[] = [
  { name: 'no transaction at all', question: {}, traces: [], outcome: 'not_committed' },
  {
    name: "the session's first, where sessions are told",
    question: { earlier: { kind: 'none' } },
    traces: [trace(101), trace(102, { threadId: 7 })],
    tellsSessions: true,
    outcome: 'committed',
    number: 102,
  },
  {
    name: 'none of the session, where sessions are told',
    question: { earlier: { kind: 'none' } },
    traces: [trace(101)],
    tellsSessions: true,
    outcome: 'not_committed',
  },
  {
    name: 'the one after the last that was acknowledged',
    question: { earlier: { kind: 'gtid', gtid: `${UUID}:101` } },
    traces: [trace(101, { threadId: 7 }), trace(103, { threadId: 7 })],
    tellsSessions: true,
    outcome: 'committed',
    number: 103,
  },
  {
    name: 'nothing after the last that was acknowledged',
    question: { earlier: { kind: 'gtid', gtid: `${UUID}:101` } },
    traces: [trace(101, { threadId: 7 }), trace(103)],
    tellsSessions: true,
    outcome: 'not_committed',
  },
  {
    name: 'one after an acknowledged one of before the place that was looked from',
    question: { earlier: { kind: 'gtid', gtid: `${UUID}:50` } },
    traces: [trace(103, { threadId: 7 })],
    tellsSessions: true,
    outcome: 'committed',
    number: 103,
  },
  {
    name: 'an acknowledged one that is missing itself, so that the number is of another session',
    question: { earlier: { kind: 'gtid', gtid: `${UUID}:102` } },
    traces: [trace(103, { threadId: 7 })],
    tellsSessions: true,
    outcome: 'not_committed',
  },
  {
    name: 'one of the session, of which nobody knows whether it was acknowledged',
    question: {},
    traces: [trace(101, { threadId: 7 })],
    tellsSessions: true,
    outcome: 'unknown',
  },
  {
    name: "the session's number in a log that does not tell sessions",
    question: { earlier: { kind: 'none' } },
    traces: [trace(101, { threadId: 7 })],
    outcome: 'unknown',
  },
  {
    name: 'only transactions that others were told of, or from before the COMMIT',
    question: { isAnother: (gtid) => gtid === `${UUID}:101` },
    traces: [trace(101)],
    outcome: 'not_committed',
  },
  {
    name: 'the mark',
    question: { mark: COMMENT },
    traces: [trace(101), trace(102, { texts: [`/*m73*/ ${insert}`] })],
    outcome: 'committed',
    number: 102,
  },
  {
    name: 'no mark where all statements are logged',
    question: { mark: COMMENT },
    traces: [trace(102, { texts: [`/*m72*/ ${insert}`] })],
    outcome: 'not_committed',
  },
  {
    name: 'no mark where some statements are not logged',
    question: { mark: COMMENT },
    traces: [trace(101), trace(102, { texts: [insert] })],
    outcome: 'unknown',
  },
  {
    name: 'the savepoint',
    question: { mark: SAVEPOINT },
    traces: [trace(101), trace(102, { savepoints: ['s', 'm73'] })],
    outcome: 'committed',
    number: 102,
  },
  {
    name: 'no savepoint',
    question: { mark: SAVEPOINT, statements: [insert] },
    traces: [trace(101, { savepoints: ['m72'] }), trace(102, { texts: [insert] })],
    outcome: 'not_committed',
  },
  {
    name: 'no savepoint where an engine may have refused it',
    question: { mark: SAVEPOINT, statements: [insert] },
    traces: [trace(102, { texts: [insert] })],
    lacksSavepoints: true,
    outcome: 'unknown',
  },
  {
    name: 'the comment of one among several of the session',
    question: { mark: COMMENT },
    traces: [
      trace(101, { threadId: 7, texts: [insert] }),
      trace(102, { threadId: 7, texts: [`/*m73*/ ${insert}`] }),
    ],
    tellsSessions: true,
    outcome: 'committed',
    number: 102,
  },
  {
    name: 'other statements of the session, where sessions are told',
    question: { statements: [insert] },
    traces: [trace(101, { threadId: 7, texts: [update] }), trace(102, { texts: [insert] })],
    tellsSessions: true,
    outcome: 'not_committed',
  },
  {
    name: 'the same statements, which nobody else waits for',
    question: { statements: [insert, `${update};`], rivals: 0 },
    traces: [trace(102, { texts: [insert, update] })],
    outcome: 'committed',
    number: 102,
  },
  {
    name: 'the statements that changed something',
    question: { statements: [insert, update], rivals: 0 },
    traces: [trace(102, { texts: [update] })],
    outcome: 'committed',
    number: 102,
  },
  {
    name: 'the same statements in another order',
    question: { statements: [insert, update], rivals: 0 },
    traces: [trace(102, { texts: [update, insert] })],
    outcome: 'not_committed',
  },
  {
    name: "the same statements, which may be another's",
    question: { statements: [insert], rivals: 1 },
    traces: [trace(102, { texts: [insert] })],
    outcome: 'unknown',
  },
  {
    name: 'the same statements as often as there are clients that wait for them',
    question: { statements: [insert], rivals: 1 },
    traces: [trace(102, { texts: [insert] }), trace(103, { texts: [insert] })],
    outcome: 'committed',
    number: 102,
  },
  {
    name: 'the same statements, and nobody knows who else sent them',
    question: { statements: [insert] },
    traces: [trace(102, { texts: [insert] })],
    outcome: 'unknown',
  },
  {
    name: 'other statements than a CALL, which is not logged as it was sent',
    question: { statements: ['call pay(1)'], rivals: 0 },
    traces: [trace(102, { texts: [insert] })],
    outcome: 'unknown',
  },
  {
    name: 'statements that were sent in one packet, of which each is logged by itself',
    question: { statements: [`${insert}; ${update}`] },
    traces: [trace(102, { texts: [insert, update] })],
    outcome: 'unknown',
  },
  {
    name: 'an executable comment that the server has written over',
    question: { statements: ['insert into t /*!99999 x */ values (1)'] },
    traces: [trace(102, { texts: ['insert into t /* 99999 x */ values (1)'] })],
    outcome: 'unknown',
  },
  {
    name: 'other statements than one that is not ASCII, which is logged in its own character set',
    question: { statements: ["insert into t values ('é')"], rivals: 0 },
    traces: [trace(102, { texts: [insert] })],
    outcome: 'unknown',
  },
];

test('nothing is said by a log that has not what its server has applied', async () => {
  const asked: string[] = [];
  const connection = {
    run: (sql: string) => {
      asked.push(sql);
      const rows = [
        { Variable_name: 'server_id', Value: '2' },
        { Variable_name: 'log_slave_updates', Value: 'OFF' },
      ];
      return Promise.resolve(sql.startsWith('SHOW GLOBAL VARIABLES') ? rows : []);
    },
  };
  const source = { backend: { name: 'db2' } } as unknown as BinlogSource;
  const bounds = { clock: systemClock, timeoutMs: 1_000 };
  const [told] = await findCommits(SEARCH, [QUESTION], source, connection, bounds);
  assert.equal(told!.outcome, 'unknown');
  assert.match(told!.detail, /log_slave_updates/);
  assert.ok(!asked.some((sql) => /ENGINES/.test(sql)), 'it was not read');
});

test('each question is told of no more than it has asked for, though the search begins earlier', () => {
  const numbersSince = (since: Held, traces: readonly Trace[]): number[] =>
    tracesFor({ ...QUESTION, since }, traces).map(({ position }) => position);
  const traces = [trace(101), trace(102), trace(103)];
  assert.deepEqual(numbersSince({ kind: 'mysql', gtids: `${UUID}:1-102` }, traces), [103]);
  assert.equal(tracesFor(QUESTION, traces).length, 3);
  const without = [
    trace(4, { gtid: null }),
    trace(400, { gtid: null }),
    trace(5, { gtid: null, file: 'binlog.000010' }),
  ];
  const place = { kind: 'position', file: 'binlog.000009', position: 400 } as const;
  assert.deepEqual(numbersSince(place, without), [400, 5]);
});

suite('a COMMIT without an answer', () => {
  for (const { name, question, traces, tellsSessions, lacksSavepoints, outcome, number } of CASES) {
    test(`by ${name}: ${outcome}`, () => {
      const log = { tellsSessions: tellsSessions === true, hasSavepoints: lacksSavepoints !== true };
      const told = answer(SEARCH, { ...QUESTION, ...question }, traces, log);
      assert.equal(told.outcome, outcome, told.detail);
      assert.equal(told.gtid, number === undefined ? null : `${UUID}:${number}`);
    });
  }
});
