import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { extrasOver, hasAllOf, heldBy, ownExtras, receivedBy } from '../../../src/failover/history.ts';
import type { ServerFacts } from '../../../src/monitor/observation.ts';
import { replicationFacts, serverFacts } from '../../support/facts.ts';

const U = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
const V = '3e11fa47-71ca-11e1-9e33-c80aa9429563';

/** A MariaDB server by its position and the state of its binary log. */
function mariadb(position: string, history: string, received = ''): ServerFacts {
  const replication = received === '' ? null : replicationFacts({ receivedPosition: received });
  return serverFacts({ position, history, replication });
}

/** A MySQL server by its set, and the one it has received. */
function mysql(position: string, received = ''): ServerFacts {
  const replication = received === '' ? null : replicationFacts({ receivedPosition: received });
  return serverFacts({ version: '8.4.0', position, history: position, replication });
}

test('what a server holds is what it has logged, applied and received', () => {
  const facts = serverFacts({
    position: `${U}:1-5`,
    replicatedPosition: `${U}:1-6`,
    replication: replicationFacts({ receivedPosition: `${U}:7-9` }),
  });
  assert.equal(heldBy(facts), `${U}:1-5,${U}:1-6,${U}:7-9`);
  assert.equal(receivedBy(facts), `${U}:1-6,${U}:7-9`, 'without what it has logged by itself');
  assert.equal(receivedBy(mysql(`${U}:1-5`)), `${U}:1-5`, 'which MySQL does not keep apart');
  assert.equal(receivedBy(null), '');
});

suite('who has all of another', () => {
  const table: [string, ServerFacts, ServerFacts, boolean][] = [
    ['equal', mariadb('0-1-9', '0-1-9'), mariadb('0-1-9', '0-1-9'), true],
    ['ahead', mariadb('0-1-9', '0-1-9'), mariadb('0-1-8', '0-1-8'), true],
    ['behind', mariadb('0-1-8', '0-1-8'), mariadb('0-1-9', '0-1-9'), false],
    ['received counts', mariadb('0-1-8', '0-1-8', '0-1-9'), mariadb('0-1-9', '0-1-9'), true],
    ['another domain is missing', mariadb('0-1-9', '0-1-9'), mariadb('0-1-9,1-1-1', '0-1-9,1-1-1'), false],
    ['an empty one has all of an empty one', mariadb('', ''), mariadb('', ''), true],
    ['MySQL, equal', mysql(`${U}:1-9`), mysql(`${U}:1-9`), true],
    ['MySQL, a hole', mysql(`${U}:1-4:6-9`), mysql(`${U}:1-9`), false],
    ['MySQL, the hole has been received', mysql(`${U}:1-4:6-9`, `${U}:5`), mysql(`${U}:1-9`), true],
  ];
  for (const [name, one, other, expected] of table) {
    test(name, () => assert.equal(hasAllOf(one, other), expected));
  }
});

suite('what one has that the other has not', () => {
  const table: [string, ServerFacts, ServerFacts, bigint | null, RegExp][] = [
    ['nothing, when equal', mariadb('0-1-9', '0-1-9'), mariadb('0-1-9', '0-1-9'), 0n, /^$/],
    ['nothing, when behind', mariadb('0-1-8', '0-1-8'), mariadb('0-1-9', '0-1-9'), 0n, /^$/],
    [
      'MariaDB: what it wrote last, though the other has a later number',
      mariadb('0-1-100', '0-1-100'),
      mariadb('0-2-105', '0-1-99,0-2-105'),
      1n,
      /0-1-100 \(the other has up to 0-1-99\)/,
    ],
    [
      'MariaDB: the same number by another server is another transaction',
      mariadb('0-2-100', '0-1-99,0-2-100'),
      mariadb('0-1-100', '0-1-100'),
      1n,
      /0-2-100 \(the other has none\)/,
    ],
    [
      'MariaDB: what the other has received and not logged yet counts',
      mariadb('0-1-100', '0-1-100'),
      mariadb('0-1-99', '0-1-99', '0-1-100'),
      0n,
      /^$/,
    ],
    [
      'MariaDB: two servers, two domains',
      mariadb('0-1-9,1-3-4', '0-1-9,0-2-7,1-3-4'),
      mariadb('0-1-9', '0-1-9'),
      2n,
      /0-2-7 .*none.*1-3-4 .*none/,
    ],
    ['an empty one has nothing', mariadb('', ''), mariadb('0-1-9', '0-1-9'), 0n, /^$/],
    ['over an empty one it is all', mariadb('0-1-9', '0-1-9'), mariadb('', ''), 1n, /0-1-9/],
    [
      'MySQL: its own transactions, counted',
      mysql(`${U}:1-9,${V}:1-3`),
      mysql(`${U}:1-12`),
      3n,
      new RegExp(`^3 of .*${V}:1-3 are not in`),
    ],
    ['MySQL: nothing', mysql(`${U}:1-9`), mysql(`${U}:1-12`), 0n, /^$/],
    ['MySQL: received counts', mysql(`${U}:1-9`), mysql(`${U}:1-8`, `${U}:9`), 0n, /^$/],
    ['two families cannot be compared', mariadb('0-1-9', '0-1-9'), mysql(`${U}:1-9`), null, /not the state/],
    ['what cannot be read is not nothing', mysql('rubbish'), mysql(`${U}:1`), null, /cannot be compared/],
  ];
  for (const [name, one, other, count, detail] of table) {
    test(name, () => {
      const extras = extrasOver(one, other);
      assert.equal(extras.count, count);
      assert.match(extras.detail, detail);
    });
  }
});

suite('what a replica has written by itself', () => {
  const replica = (own: string, position = own): ServerFacts =>
    serverFacts({ position, history: position, ownTransactions: own });

  test('nothing', () => assert.equal(ownExtras(replica(''), mariadb('0-1-9', '0-1-9')), null));

  test('what the primary has as well, from a time when this one was the primary, is none', () => {
    assert.equal(ownExtras(replica('0-2-5'), mariadb('0-1-9', '0-1-9,0-2-5')), null);
    assert.equal(ownExtras(replica(`${V}:1-3`), mysql(`${U}:1-9,${V}:1-3`)), null);
  });

  test('what the primary has not is told', () => {
    assert.match(ownExtras(replica('0-2-6'), mariadb('0-1-9', '0-1-9,0-2-5')) ?? '', /0-2-6/);
    assert.match(ownExtras(replica(`${V}:1-3`), mysql(`${U}:1-9,${V}:1-2`)) ?? '', /^1 of/);
  });
});
