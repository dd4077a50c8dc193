import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  extrasOver,
  hasAllOf,
  hasMoreThanItsSource,
  hasWrittenAllItself,
  heldBy,
  historyToBeginWith,
  ownExtras,
  passedOver,
  receivedBy,
  strayExtras,
  whyItsPlaceIsUnknown,
  withoutForeign,
} from '../../../src/failover/history.ts';
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
  const both = { ...mysql(`${U}:1-5,${V}:1-7`), serverUuid: V.toUpperCase() };
  assert.equal(receivedBy(both), `${U}:1-5`, 'which in MySQL bears its uuid');
  assert.equal(receivedBy({ ...both, serverUuid: '', ownTransactions: `${V}:1-7` }), `${U}:1-5`);
  assert.equal(receivedBy(null), '');
});

suite('what a replica has passed over', () => {
  const table: [string, ServerFacts, ServerFacts, string | null][] = [
    ['nothing', mariadb('0-2-9', '0-1-7,0-2-9'), mariadb('0-2-9', '0-1-7,0-2-9'), null],
    [
      'what a crash had taken from it, once it has what came behind',
      mariadb('0-2-9', '0-1-5,0-2-9'),
      mariadb('0-2-9', '0-1-7,0-2-9'),
      '0-1-6 to 0-1-7',
    ],
    ['not what it may still be sent', mariadb('0-1-5', '0-1-5'), mariadb('0-2-9', '0-1-7,0-2-9'), null],
    [
      'not where it has come behind that in another domain only',
      mariadb('0-1-5,1-2-9', '0-1-5,1-2-9'),
      mariadb('0-1-7,1-2-9', '0-1-7,1-2-9'),
      null,
    ],
    ['not what others wrote', mariadb('0-2-9', '0-2-9'), mariadb('0-2-9', '0-3-7,0-2-9'), null],
    ['not what it was filled with', mariadb('0-2-9', '0-2-9'), mariadb('0-2-9', '0-1-7,0-2-9'), null],
    ['of MySQL it cannot be told', mysql(`${U}:1-5`), mysql(`${U}:1-7`), null],
  ];
  for (const [name, replica, source, expected] of table) {
    test(name, () => assert.equal(passedOver({ ...replica, serverId: 1 }, source), expected));
  }
});

test('who was never sent anything has written all itself; of MySQL that cannot be told', () => {
  assert.equal(hasWrittenAllItself(mariadb('0-1-13', '0-1-13')), true);
  assert.equal(hasWrittenAllItself(mariadb('0-1-13', '0-1-13', '0-2-12')), false);
  const before = { ...mariadb('0-1-13', '0-2-12,0-1-13'), replicatedPosition: '0-2-12' };
  assert.equal(hasWrittenAllItself(before), false, 'it was a replica once');
  assert.equal(hasWrittenAllItself(mysql(`${U}:1-5`)), false);
});

suite('who has all of another', () => {
  const table: [string, ServerFacts, ServerFacts, boolean][] = [
    ['equal', mariadb('0-1-9', '0-1-9'), mariadb('0-1-9', '0-1-9'), true],
    ['ahead', mariadb('0-1-9', '0-1-9'), mariadb('0-1-8', '0-1-8'), true],
    ['behind', mariadb('0-1-8', '0-1-8'), mariadb('0-1-9', '0-1-9'), false],
    ['received counts', mariadb('0-1-8', '0-1-8', '0-1-9'), mariadb('0-1-9', '0-1-9'), true],
    ['another domain is missing', mariadb('0-1-9', '0-1-9'), mariadb('0-1-9,1-1-1', '0-1-9,1-1-1'), false],
    [
      'its own epoch is past a number that the old primary has given',
      mariadb('0-2-101', '0-1-100,0-2-101'),
      { ...mariadb('0-1-101', '0-1-101', '0-1-101'), serverId: 3 },
      false,
    ],
    [
      'of a writer that a copy does not name the position tells',
      mariadb('0-2-101', '0-2-101'),
      mariadb('0-1-100', '0-1-100', '0-1-100'),
      true,
    ],
    ['an empty one has all of an empty one', mariadb('', ''), mariadb('', ''), true],
    ['MySQL, equal', mysql(`${U}:1-9`), mysql(`${U}:1-9`), true],
    ['MySQL, a hole', mysql(`${U}:1-4:6-9`), mysql(`${U}:1-9`), false],
    [
      'MySQL, what the other one has written itself nobody has sent it',
      mysql(`${U}:1-9`),
      { ...mysql(`${U}:1-9,${V}:1-3`), serverUuid: V },
      true,
    ],
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
    [
      'MariaDB: what the other was filled with, or has replicated, counts',
      mariadb('0-2-23', '0-1-9,0-2-23'),
      { ...mariadb('0-3-24', '0-2-23,0-3-24'), replicatedPosition: '0-1-9' },
      0n,
      /^$/,
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

suite('the history of a server that was filled by other means', () => {
  const filled = (replicatedPosition: string, history = ''): ServerFacts =>
    serverFacts({ position: '', history, replicatedPosition, replication: null });
  const table: [string, ServerFacts, ServerFacts, string][] = [
    ['has who wrote before', filled('0-2-30'), mariadb('0-2-40', '0-1-9,0-2-40'), '0-1-9,0-2-30'],
    ['not who wrote later', filled('0-2-30'), mariadb('0-3-44', '0-2-40,0-3-44'), '0-2-30'],
    ['by domain', filled('0-2-30,1-3-4'), mariadb('0-2-40', '1-4-2,2-5-1,0-2-40'), '1-4-2,0-2-30,1-3-4'],
    [
      'as the primary had it itself',
      filled('0-2-30'),
      { ...mariadb('0-2-40', '0-2-40'), replicatedPosition: '0-1-9' },
      '0-1-9,0-2-30',
    ],
    ['is its own when it has one', filled('0-2-30', '0-2-31'), mariadb('0-2-40', '0-1-9,0-2-40'), ''],
    ['is not known when it stands nowhere', filled(''), mariadb('0-2-40', '0-1-9,0-2-40'), ''],
    ['is not needed at MySQL', mysql(`${U}:1-5`), mysql(`${U}:1-9`), ''],
  ];
  for (const [name, one, primary, expected] of table) {
    test(name, () => assert.equal(historyToBeginWith(one, primary), expected));
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

suite('what a replica has of others than its primary, and that one has not', () => {
  const primary = (facts: ServerFacts, own: string): ServerFacts => ({ ...facts, ownTransactions: own });
  const none: [string, ServerFacts, ServerFacts][] = [
    [
      'MariaDB: what the primary writes may be newer',
      mariadb('0-1-12', '0-1-12,0-2-3'),
      mariadb('0-1-9', '0-1-9,0-2-3'),
    ],
    [
      'MariaDB: a primary that was filled does not name who wrote before',
      mariadb('0-1-9', '0-1-9,0-2-3'),
      mariadb('0-1-9', '0-1-9'),
    ],
    ['MariaDB: less than the primary has', mariadb('0-1-9', '0-1-9,0-2-3'), mariadb('0-1-9', '0-1-9,0-2-4')],
    [
      'MySQL: what the primary writes may be newer',
      mysql(`${U}:1-12,${V}:1-3`),
      primary(mysql(`${U}:1-9,${V}:1-3`), `${U}:1-9`),
    ],
    ['MySQL: a primary that has written nothing yet', mysql(`${V}:1-4`), mysql(`${V}:1-3`)],
    ['a primary whose log is empty', mysql(`${U}:1-4`), mysql('')],
  ];
  for (const [name, replica, source] of none)
    test(`nothing: ${name}`, () => assert.equal(strayExtras(replica, source), null));

  test('what came to it from a server that it followed before', () => {
    const maria = strayExtras(mariadb('0-1-12', '0-1-12,0-2-4'), mariadb('0-1-12', '0-1-12,0-2-3'));
    assert.equal(maria, '0-2-4 (the other has up to 0-2-3)');
    const source = primary(mysql(`${U}:1-9,${V}:1-3`), `${U}:1-9`);
    assert.match(strayExtras(mysql(`${U}:1-12,${V}:1-4`), source) ?? '', /^1 of/);
    assert.match(strayExtras(mysql(`${U}:1-9,${V}:1-3`, `${V}:4`), source) ?? '', /^1 of/);
  });

  test('nothing is said of a ring, in which the primary gets it as well', () => {
    const source = { ...mariadb('0-1-12', '0-1-12,0-2-3'), replication: replicationFacts() };
    assert.equal(strayExtras(mariadb('0-1-12', '0-1-12,0-2-4'), source), null);
  });
});

suite('what a server has of its cluster', () => {
  test('is without what came from another source: by domain in MariaDB, by writer in MySQL', () => {
    const other = mariadb('0-1-9,9-4-7', '0-1-9,9-4-7', '0-1-10,9-4-8');
    const ours = withoutForeign(other, [mariadb('0-1-9', '0-1-9')]);
    assert.deepEqual(
      [ours.position, ours.history, ours.replication?.receivedPosition],
      ['0-1-9', '0-1-9', '0-1-10'],
    );
    const mixed = withoutForeign(mysql(`${U}:1-5,${V}:1-3`, `${V}:4`), [mysql(`${U}:1-9`)]);
    assert.deepEqual([mixed.position, mixed.replication?.receivedPosition], [`${U}:1-5`, '']);
  });

  test('is with what it has written itself, and with what a primary of earlier days wrote', () => {
    const errant = { ...mysql(`${U}:1-5,${V}:1`), ownTransactions: `${V}:1` };
    assert.equal(withoutForeign(errant, [mysql(`${U}:1-9`)]).position, `${U}:1-5,${V}:1`);
    assert.equal(withoutForeign(mariadb('0-7-9', '0-7-9'), [mariadb('0-1-9', '0-1-9')]).position, '0-7-9');
  });
});

test('a primary lacks what a replica received of it when a crash has cut its log short', () => {
  const primary = { ...mariadb('0-1-9', '0-1-9'), serverId: 1 };
  assert.equal(hasMoreThanItsSource(mariadb('0-1-8', '0-1-8', '0-1-10'), primary), true);
  assert.equal(hasMoreThanItsSource(mariadb('0-1-9', '0-1-9', '0-1-9'), primary), false);
  assert.equal(hasMoreThanItsSource(mariadb('0-2-10', '0-1-9,0-2-10'), primary), false, 'written elsewhere');
});

suite('a primary that has forgotten what is in its own log', () => {
  // It says 0-1-9; its log tells 0-1-20.
  const forgotten = { position: '0-1-9', history: '0-1-9', why: null };
  const primary = { ...mariadb('0-1-20', '0-1-20'), serverId: 1, forgotten };
  const table: [received: string, hasMore: boolean, why: string][] = [
    ['0-1-20', true, 'the replica has all of it, and is cut off from one that knows less'],
    ['0-1-22', true, 'it has more'],
    ['0-1-19', false, 'it would lose the last'],
    ['0-1-9', false, 'it has no more than the primary remembers'],
  ];
  for (const [received, hasMore, why] of table) {
    test(`${hasMore ? 'gives way' : 'goes on'} where ${why}`, () => {
      assert.equal(hasMoreThanItsSource(mariadb(received, received, received), primary), hasMore);
    });
  }

  test('which nobody can tell any more is judged by what it says', () => {
    const unclear = { ...primary, ...forgotten, forgotten: { ...forgotten, why: 'given twice' } };
    assert.equal(hasMoreThanItsSource(mariadb('0-1-10', '0-1-10', '0-1-10'), unclear), true);
    assert.equal(hasMoreThanItsSource(mariadb('0-1-9', '0-1-9', '0-1-9'), unclear), false);
  });
});

suite('where a server would have to follow from', () => {
  const epoch = { epoch: 7, backend: 'db1' };
  const forgotten = { position: '0-1-9', history: '0-1-9', why: 'it has given 0-1-10 twice' };
  const table: [why: string, facts: Partial<ServerFacts>, unknown: RegExp | null][] = [
    ['it is empty, and new', {}, null],
    ['its log tells', { position: '0-1-9', epoch }, null],
    ['it was filled, and told where it stands', { replicatedPosition: '0-1-9', epoch }, null],
    ['it follows somebody', { replication: replicationFacts(), forgotten, epoch }, null],
    ['it is known by its place', { hasGtid: false, epoch }, null],
    ['it was in the cluster, and has nothing', { epoch }, /was in this cluster already, in epoch 7/],
    ['its log contradicts itself', { position: '0-1-9', forgotten }, /it has given 0-1-10 twice; CLONE/],
  ];
  for (const [why, facts, unknown] of table) {
    test(`${unknown === null ? 'is known, or is the beginning' : 'is not known'}: ${why}`, () => {
      const found = whyItsPlaceIsUnknown('db2', serverFacts(facts));
      if (unknown === null) assert.equal(found, null);
      else assert.match(found ?? '', unknown);
    });
  }
});
