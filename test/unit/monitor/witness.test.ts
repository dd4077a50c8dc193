import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FIRST_RECORD, judgeCheck, type HealthRecord } from '../../../src/monitor/detector.ts';
import type { ReplicationFacts } from '../../../src/monitor/observation.ts';
import { receiverWitness, whyItCannotTell } from '../../../src/monitor/witness.ts';
import { clusterConfig } from '../../support/configs.ts';
import { replicationFacts, serverFacts } from '../../support/facts.ts';

const LIMITS = clusterConfig();

/** The record after these checks, each at its time. */
function after(...checks: [number, Partial<ReplicationFacts> | null][]): HealthRecord {
  return checks.reduce((record, [atMs, replication]) => {
    const facts = serverFacts({ replication: replication === null ? null : replicationFacts(replication) });
    return judgeCheck(record, { kind: 'seen', facts }, LIMITS, atMs);
  }, FIRST_RECORD);
}

const HEARS = { heartbeatPeriodMs: 500 } as const;

suite('a receiver that runs', () => {
  test('receives while its signs change', () => {
    const record = after(
      [0, { ...HEARS, signs: '1' }],
      [1_000, { ...HEARS, signs: '2' }],
      [2_000, { ...HEARS, signs: '3' }],
    );
    assert.equal(receiverWitness(record, LIMITS, 2_000), 'receives');
  });

  const table: [period: number, sameForMs: number, witness: string][] = [
    [500, 250, 'receives'],
    [500, 1_000, 'receives'],
    [500, 1_001, 'silent'],
    [250, 900, 'receives'],
    [250, 1_100, 'silent'],
    [1_000, 1_900, 'receives'],
    [1_000, 2_100, 'silent'],
    [1_001, 60_000, 'unknown'],
    [0, 60_000, 'unknown'],
  ];
  for (const [heartbeatPeriodMs, sameForMs, witness] of table) {
    test(`a heartbeat every ${heartbeatPeriodMs} ms, and the same signs for ${sameForMs} ms: ${witness}`, () => {
      const same = { heartbeatPeriodMs, signs: 'x' };
      const record = after([0, same], [sameForMs, same]);
      assert.equal(receiverWitness(record, LIMITS, sameForMs), witness);
    });
  }

  test('is not silent for what we have not looked at', () => {
    const record = after([0, { ...HEARS, signs: 'x' }]);
    assert.equal(receiverWitness(record, LIMITS, 1_900), 'receives');
    assert.equal(receiverWitness(record, LIMITS, 2_100), 'unknown', 'what we know is old');
  });

  test('that has just come back has got something', () => {
    const same = { ...HEARS, signs: 'x' };
    const record = after([0, same], [3_000, { ...same, receiver: 'connecting' }], [3_500, same]);
    assert.equal(receiverWitness(record, LIMITS, 3_500), 'receives');
  });
});

suite('a receiver that does not run', () => {
  const table: [Partial<ReplicationFacts>, string][] = [
    [{ receiver: 'connecting', receiverErrno: 2003 }, 'lost'],
    [{ receiver: 'connecting', receiverErrno: 2013 }, 'lost'],
    [{ receiver: 'stopped', receiverErrno: 2003 }, 'lost'],
    [{ receiver: 'connecting', receiverErrno: 0 }, 'unknown'],
    [{ receiver: 'stopped', receiverErrno: 0 }, 'unknown'],
    [{ receiver: 'connecting', receiverErrno: 1045 }, 'answered'],
    [{ receiver: 'connecting', receiverErrno: 1040 }, 'answered'],
    [{ receiver: 'stopped', receiverErrno: 1236 }, 'unknown'],
  ];
  for (const [replication, witness] of table) {
    test(`${replication.receiver} with error ${replication.receiverErrno}: ${witness}`, () => {
      assert.equal(receiverWitness(after([0, { ...HEARS, ...replication }]), LIMITS, 0), witness);
    });
  }

  const reasons: [Partial<ReplicationFacts>, RegExp][] = [
    [{ receiver: 'stopped', receiverErrno: 0 }, /its receiver is stopped/],
    [{ receiver: 'stopped', receiverErrno: 1236, receiverError: 'no log' }, /has stopped \(no log\)/],
    [{ receiver: 'connecting', receiverErrno: 0 }, /just connecting/],
    [{ receiver: 'running', heartbeatPeriodMs: 30_000 }, /heartbeat period/],
  ];
  for (const [replication, why] of reasons) {
    test(`cannot tell, as ${why.source}`, () => {
      const record = after([0, { ...HEARS, ...replication }]);
      assert.equal(receiverWitness(record, LIMITS, 0), 'unknown');
      assert.match(whyItCannotTell(record, LIMITS, 0), why);
      assert.match(whyItCannotTell(record, LIMITS, 60_000), /not been looked at since/);
    });
  }

  test('there is none', () => {
    assert.equal(receiverWitness(after([0, null]), LIMITS, 0), 'unknown');
    assert.equal(receiverWitness(FIRST_RECORD, LIMITS, 0), 'unknown');
  });
});
