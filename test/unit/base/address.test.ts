import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  canonicalAddress,
  formatEndpoint,
  isNetwork,
  networkList,
  parseEndpoint,
} from '../../../src/base/address.ts';

describe('an endpoint', () => {
  const good = [
    '10.0.0.1:3306',
    'db1.example.org:1',
    '[::1]:65535',
    '[2001:db8::1]:3306',
    'unix:/run/x.sock',
  ];
  for (const text of good) {
    test(`${text} is read and written back the same`, () => {
      const endpoint = parseEndpoint(text);
      assert.ok(endpoint !== undefined);
      assert.equal(formatEndpoint(endpoint), text);
    });
  }

  const bad = [
    '',
    'host',
    'host:',
    ':3306',
    'host:0',
    'host:65536',
    'host:33o6',
    '::1:3306',
    '[::1]',
    'unix:x',
    'a b:1',
  ];
  for (const text of bad) {
    test(`'${text}' is none`, () => assert.equal(parseEndpoint(text), undefined));
  }
});

describe('a list of networks', () => {
  const cases: [networks: string[], address: string, contained: boolean][] = [
    [['10.0.0.0/8'], '10.255.0.1', true],
    [['10.0.0.0/8'], '11.0.0.1', false],
    [['127.0.0.1'], '127.0.0.1', true],
    [['127.0.0.1'], '127.0.0.2', false],
    [['10.0.0.0/8', '192.168.1.0/24'], '192.168.1.200', true],
    [['10.0.0.0/8'], '::ffff:10.0.0.1', true],
    [['10.0.0.0/8'], '::FFFF:10.0.0.1', true],
    [['10.0.0.0/8'], '::ffff:a00:1', true],
    [['10.1.2.3/8'], '10.9.0.1', true],
    [['fe80::/10'], 'fe80::1%no-such-interface', true],
    [['2001:db8::/33'], '2001:db8:7fff::1', true],
    [['2001:db8::/33'], '2001:db8:8000::1', false],
    [['::1'], '::1', true],
    [['2001:db8::/32'], '2001:db8:1::5', true],
    [['2001:db8::/32'], '2001:db9::5', false],
    [['0.0.0.0/0'], '::1', false],
    [['::/0'], '10.0.0.1', false],
    [[], '127.0.0.1', false],
    [['127.0.0.0/8'], 'localhost', false],
    [['127.0.0.0/8'], '', false],
  ];
  for (const [networks, address, contained] of cases) {
    test(`[${networks.join(', ')}] ${contained ? 'contains' : 'does not contain'} '${address}'`, () => {
      assert.equal(networkList(networks).contains(address), contained);
    });
  }

  test('is made of addresses and CIDRs only', () => {
    const wrong = ['10.0.0.0/33', '10.0.0', 'host', '', '::/129', '10.0.0.0/', '10.0.0.0/8/8', ' 10.0.0.1'];
    assert.deepEqual(wrong.filter(isNetwork), []);
    assert.deepEqual(['10.0.0.0/32', '10.0.0.1', '::/0', '::1'].map(isNetwork), [true, true, true, true]);
    assert.throws(() => networkList(['host']), TypeError);
  });
});

test('an address has one spelling, and what is none is left as it is', () => {
  const spellings: [given: string, usual: string][] = [
    ['10.0.0.1', '10.0.0.1'],
    ['2001:DB8:0:0::01', '2001:db8::1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:a00:1', '10.0.0.1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['::', '::'],
    ['db1.example.org', 'db1.example.org'],
  ];
  assert.deepEqual(
    spellings.map(([given]) => canonicalAddress(given)),
    spellings.map(([, usual]) => usual),
  );
});
