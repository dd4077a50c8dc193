import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatEndpoint, parseEndpoint } from '../../../src/base/address.ts';
import { addressOfOther } from '../../../src/peer/link.ts';

describe('the address of the other', () => {
  const own = '0.0.0.0:6032';
  const cases: readonly [string, string[], string, string[], string][] = [
    [
      'is the one that is not of this host',
      ['10.0.0.1:6032', '10.0.0.2:6032'],
      own,
      ['10.0.0.1'],
      '10.0.0.2:6032',
    ],
    ['on the other host the first', ['10.0.0.1:6032', '10.0.0.2:6032'], own, ['10.0.0.2'], '10.0.0.1:6032'],
    ['is the only one', ['10.0.0.2:6032'], own, ['10.0.0.1'], '10.0.0.2:6032'],
    ['differs by its port', ['127.0.0.1:1', '127.0.0.1:2'], '127.0.0.1:1', ['127.0.0.1'], '127.0.0.1:2'],
    [
      'is of IPv6 however it is written',
      ['[fd00:0::1]:6032', '[fd00::2]:6032'],
      own,
      ['fd00::1'],
      '[fd00::2]:6032',
    ],
  ];
  for (const [what, addresses, admin, here, expected] of cases) {
    test(what, () => {
      const found = addressOfOther(addresses, parseEndpoint(admin)!, new Set(here));
      assert.equal(formatEndpoint(found), expected);
    });
  }
});
