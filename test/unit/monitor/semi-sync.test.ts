import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { semiSyncWanted, type SemiSyncMember, type SemiSyncPolicy } from '../../../src/monitor/semi-sync.ts';

/** `db1` and what it is: w waits, f follows. */
function members(...written: string[]): SemiSyncMember[] {
  return written.map((one) => {
    const [name = '', marks = ''] = one.split(':');
    return { name, follows: marks.includes('f'), waits: marks.includes('w') };
  });
}

/** `db1:P` waits as a primary, `R` acknowledges as a replica. */
function wanted(policy: SemiSyncPolicy, primary: string | null, ...written: string[]): string {
  return semiSyncWanted(policy, primary, members(...written))
    .map((wish) => `${wish.name}:${wish.waits ? 'P' : ''}${wish.acknowledges ? 'R' : ''}`)
    .join(' ');
}

describe('the switches of semi-sync', () => {
  const cases: [what: string, actual: string, expected: string][] = [
    ['stay as they are with semi_sync = off', wanted('off', 'db1', 'db1:w', 'db2:f'), ''],
    ['stay as they are while nobody knows the primary', wanted('require', null, 'db1:w', 'db2:w'), ''],
    ['are on at the primary when a replica follows', wanted('require', 'db1', 'db1', 'db2:f'), 'db1:P db2:R'],
    [
      'are not switched on at a primary that nobody follows',
      wanted('require', 'db1', 'db1', 'db2'),
      'db1: db2:R',
    ],
    [
      'stay on at a primary that waited, when it is required',
      wanted('require', 'db1', 'db1:w', 'db2'),
      'db1:P db2:R',
    ],
    [
      'go off at a primary that nobody follows, when it is preferred',
      wanted('prefer', 'db1', 'db1:w', 'db2'),
      'db1: db2:R',
    ],
    [
      'are off as a primary at every replica',
      wanted('require', 'db1', 'db1:w', 'db2:wf', 'db3:f'),
      'db1:P db2:R db3:R',
    ],
    ['follow a promotion', wanted('require', 'db2', 'db1:wf', 'db2'), 'db1:R db2:P'],
    [
      'do not count the new primary as its own replica',
      wanted('require', 'db2', 'db1', 'db2:f'),
      'db1:R db2:',
    ],
  ];
  for (const [what, actual, expected] of cases) test(what, () => assert.equal(actual, expected));
});
