import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { compareHostPatterns, parseHostPattern } from '../../../src/topology/host-pattern.ts';

suite('a host pattern matches as the servers match it', () => {
  const table: [pattern: string, matches: string[], others: string[]][] = [
    ['%', ['10.0.0.1', '2001:db8::1', 'localhost'], []],
    ['', ['10.0.0.1', 'localhost'], []],
    ['10.1.2.3', ['10.1.2.3', '::ffff:10.1.2.3'], ['10.1.2.30', '10.1.2', 'localhost']],
    ['10.1.%', ['10.1.2.3', '10.1.200.3'], ['10.10.2.3', '110.1.2.3']],
    ['%.1', ['10.1.2.1'], ['10.1.2.11']],
    ['%1%2%3', ['10.1.2.3'], ['10.1.3.2']],
    ['10.1.2._', ['10.1.2.3'], ['10.1.2.30', '10.1.2.']],
    ['10.1.2.\\_', [], ['10.1.2.3']],
    ['10.0.0.0/8', ['10.1.2.3', '::ffff:10.1.2.3'], ['11.0.0.1', '2001:db8::1', 'localhost']],
    ['0.0.0.0/0', ['255.255.255.255', '1.2.3.4'], ['2001:db8::1']],
    ['128.0.0.0/1', ['255.0.0.1'], ['127.0.0.1']],
    ['10.1.0.0/255.255.0.0', ['10.1.2.3'], ['10.2.2.3']],
    ['10.1.2.3/255.255.255.255', ['10.1.2.3'], ['10.1.2.4']],
    // Tried on MySQL 9.7 and MariaDB 10.11: bits outside of the mask make it match nobody.
    ['127.0.0.5/8', [], ['127.0.0.1', '127.0.0.5']],
    ['127.0.0.5/255.0.0.0', [], ['127.0.0.1', '127.0.0.5']],
    ['2001:db8::1', ['2001:db8::1', '2001:DB8::1'], ['2001:db8::2']],
    ['2001:db8::%', ['2001:db8::2'], ['2001:db9::2']],
    ['fe80::1', ['fe80::1%eth0'], []],
    ['localhost', ['localhost', '127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1'], ['10.0.0.1']],
    ['LOCAL%', ['localhost', '127.0.0.1'], ['10.0.0.1']],
    ['127.0.0.1', ['127.0.0.1'], ['localhost', '::1']],
    ['db.example.com', [], ['10.0.0.1', 'localhost', '127.0.0.1']],
    ['%.example.com', [], ['10.0.0.1', 'localhost']],
    ['10.0.0.0/33', [], ['10.0.0.0']],
    ['300.0.0.1', [], ['44.0.0.1']],
  ];
  for (const [pattern, matches, others] of table) {
    test(`'${pattern}'`, () => {
      const parsed = parseHostPattern(pattern);
      for (const address of matches) assert.equal(parsed.matches(address), true, address);
      for (const address of others) assert.equal(parsed.matches(address), false, address);
    });
  }

  test('many wildcards take no longer than few', () => {
    const pattern = parseHostPattern(`${'%1'.repeat(120)}%x`);
    assert.equal(pattern.matches('1'.repeat(200)), false);
  });
});

test('a name other than localhost is told apart from an address', () => {
  const names = ['db.example.com', '%.example.com', 'localhost', 'loc%', '10.%', 'fe80::%', '%'];
  const told = names.filter((name) => parseHostPattern(name).isName);
  assert.deepEqual(told, ['db.example.com', '%.example.com']);
});

test('the most specific host comes first', () => {
  const inOrder = [
    '10.1.2.3',
    '10.1.0.0/16',
    '10.0.0.0/8',
    '10.1.0.0/255.255.0.0',
    '10.0.0.0/255.0.0.0',
    'localhost',
    '10.1.2.%',
    '10.1.%',
    '1_.1.2.3',
    '%',
    '',
  ];
  const sorted = inOrder
    .toReversed()
    .map((host) => ({ host, pattern: parseHostPattern(host) }))
    .sort((one, other) => compareHostPatterns(one.pattern, other.pattern));
  assert.deepEqual(
    sorted.map(({ host }) => host),
    inOrder,
  );
});
