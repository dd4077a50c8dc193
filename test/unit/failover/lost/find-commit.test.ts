/** The rules by which a COMMIT without an answer is resolved; each "unknown" is one that must not be guessed. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  answer,
  type CommitQuestion,
  type CommitSearch,
  type Trace,
} from '../../../../src/failover/lost/find-commit.ts';

const UUID = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
const SENT_AT_MS = 1_700_000_000_000;

const SEARCH: CommitSearch = { serverId: 1, since: { kind: 'mysql', gtids: `${UUID}:1-100` } };

const QUESTION: CommitQuestion = {
  threadId: 7,
  earlier: { kind: 'unknown' },
  sentAtMs: SENT_AT_MS,
  skewMs: 10,
  isAcknowledged: () => false,
  mark: null,
  statements: [],
  rivals: null,
};

function trace(number: number, further: Partial<Trace> = {}): Trace {
  const gtid = `${UUID}:${number}`;
  return { gtid, threadId: 99, committedAtUs: null, place: gtid, texts: [], ...further };
}

interface Case {
  readonly name: string;
  readonly question: Partial<CommitQuestion>;
  readonly traces: readonly Trace[];
  readonly tellsSessions?: true;
  readonly outcome: 'committed' | 'not_committed' | 'unknown';
  readonly number?: number;
}

const insert = 'insert into t values (1)';
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
    name: 'only transactions that others were told of',
    question: { isAcknowledged: (gtid) => gtid === `${UUID}:101` },
    traces: [trace(101)],
    outcome: 'not_committed',
  },
  {
    name: 'only transactions from before the COMMIT',
    question: {},
    traces: [trace(101, { committedAtUs: BigInt(SENT_AT_MS - 11) * 1000n })],
    outcome: 'not_committed',
  },
  {
    name: 'one that may be from after the COMMIT, by clocks that differ',
    question: {},
    traces: [trace(101, { committedAtUs: BigInt(SENT_AT_MS - 9) * 1000n })],
    outcome: 'unknown',
  },
  {
    name: 'the mark',
    question: { mark: '<7.3>' },
    traces: [trace(101), trace(102, { texts: [`${insert} /* <7.3> */`] })],
    outcome: 'committed',
    number: 102,
  },
  {
    name: 'no mark where all statements are logged',
    question: { mark: '<7.3>' },
    traces: [trace(102, { texts: [`${insert} /* <7.2> */`] })],
    outcome: 'not_committed',
  },
  {
    name: 'no mark where some statements are not logged',
    question: { mark: '<7.3>' },
    traces: [trace(101), trace(102, { texts: [insert] })],
    outcome: 'unknown',
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
    name: 'other statements than one that is not ASCII, which is logged in its own character set',
    question: { statements: ["insert into t values ('é')"], rivals: 0 },
    traces: [trace(102, { texts: [insert] })],
    outcome: 'unknown',
  },
];

suite('a COMMIT without an answer', () => {
  for (const { name, question, traces, tellsSessions, outcome, number } of CASES) {
    test(`by ${name}: ${outcome}`, () => {
      const told = answer(SEARCH, { ...QUESTION, ...question }, traces, tellsSessions === true);
      assert.equal(told.outcome, outcome, told.detail);
      assert.equal(told.gtid, number === undefined ? null : `${UUID}:${number}`);
    });
  }
});
