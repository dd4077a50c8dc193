/** What a running dbproxy has diagnosed, in the words of the doctor. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { DiagnosisName } from '../../../src/failover/findings/finding.ts';
import type { Finding } from '../../../src/setup/finding.ts';
import {
  runningFindings,
  SAID_BY_RULE,
  type RunningDiagnosis,
  type RunningSight,
} from '../../../src/setup/running-rules.ts';

const BACKENDS = [
  { name: 'db1', cluster: 'main' },
  { name: 'b1', cluster: 'other' },
];

function told(running: RunningSight, isOfPair: boolean, ...found: readonly Finding[]): string[] {
  return runningFindings({ running, isOfPair, found, backends: BACKENDS }).map(
    ({ severity, subject, id, words }) => `${severity} ${subject} ${id}: ${words}`,
  );
}

function runs(...diagnoses: readonly RunningDiagnosis[]): RunningSight {
  return { kind: 'runs', diagnoses };
}

function diagnosis(
  name: DiagnosisName,
  gravity: RunningDiagnosis['gravity'] = 'warning',
  cluster = 'main',
): RunningDiagnosis {
  return { cluster, name, gravity, detail: 'why' };
}

function found(id: string, subject: string): Finding {
  return { severity: 'error', id, subject, words: '', remedy: '', blocksBootstrap: false };
}

/** Each diagnosis that is left out, and what the doctor has found then. */
const SAID: readonly [DiagnosisName, string, string][] = [
  ['TwoWritablePrimaries', 'one_writer', 'main'],
  ['NoWritablePrimary', 'one_writer', 'main'],
  ['OldPrimaryWritable', 'read_only', 'db1'],
  ['ReplicaWritable', 'read_only', 'db1'],
  ['ReplicaBroken', 'replication_runs', 'db1'],
  ['ReplicaStopped', 'replication_runs', 'db1'],
  ['ReplicaGone', 'reachable', 'db1'],
  ['AllServersGone', 'reachable', 'db1'],
  ['MonitorAccountRefused', 'reachable', 'db1'],
  ['StateNotWritable', 'state_dir', 'dbproxy'],
  ['PeerUnreachable', 'peer', 'host'],
];

describe('the dbproxy of this host', () => {
  test('has its diagnoses told: critical ones as errors, warnings as warnings, and no others', () => {
    const sight = runs(
      diagnosis('BothInCharge', 'critical'),
      diagnosis('StateNotWritable'),
      diagnosis('InMaintenance', 'info'),
      diagnosis('AllHealthy', 'info', 'other'),
    );
    const expected = ['error main BothInCharge: why', 'warning main StateNotWritable: why'];
    for (const isOfPair of [true, false]) assert.deepEqual(told(sight, isOfPair), expected);
  });

  test('is missed where it is one of a pair', () => {
    const sight: RunningSight = { kind: 'silent', reason: 'ECONNREFUSED' };
    assert.deepEqual(told(sight, false), []);
    const [warning] = told(sight, true);
    assert.match(warning!, /^warning host dbproxy: no dbproxy answers on this host: ECONNREFUSED/);
  });

  test('has each rule that says the same tested here', () => {
    assert.deepEqual(
      SAID.map(([name, rule]) => [name, rule]),
      Object.entries(SAID_BY_RULE),
    );
  });

  for (const [name, rule, subject] of SAID) {
    test(`${name} is not said twice where there is ${rule}, and is said where that is of something else`, () => {
      const sight = runs(diagnosis(name));
      assert.deepEqual(told(sight, true, found(rule, subject)), []);
      assert.deepEqual(told(sight, true, found('clock', subject)), [`warning main ${name}: why`]);
      assert.deepEqual(told(sight, true, found(rule, 'b1')), [`warning main ${name}: why`]);
    });
  }
});
