import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { elect, type Election, type ElectionTerms } from '../../../src/failover/election.ts';
import { LAST_SEEN_MS, surveyOf, type ServerDescription } from '../../support/clusters.ts';

const U = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
const V = '3e11fa47-71ca-11e1-9e33-c80aa9429563';

const DOWN: ServerDescription = { down: 'connection refused' };

/** A replica of the primary that is gone. */
function orphan(over: ServerDescription = {}): ServerDescription {
  return { from: 'db1', hears: 'lost', ...over };
}

function election(servers: Record<string, ServerDescription>, terms: Partial<ElectionTerms> = {}): Election {
  const survey = surveyOf({ servers: { db1: DOWN, ...servers } });
  return elect(survey, survey.members[0]!, { only: null, force: false, ...terms });
}

function outcomes({ candidacies }: Election): Record<string, string> {
  return Object.fromEntries(candidacies.map(({ backend, outcome }) => [backend, outcome]));
}

suite('elected is', () => {
  const table: [string, Record<string, ServerDescription>, string][] = [
    ['the only replica', { db2: orphan() }, 'db2'],
    [
      'the one that has received most, whatever its weight',
      { db2: orphan({ has: '0-1-100', rwWeight: 9 }), db3: orphan({ has: '0-1-101' }) },
      'db3',
    ],
    ['of equals the one with the greater weight', { db2: orphan(), db3: orphan({ rwWeight: 2 }) }, 'db3'],
    ['of equal weights the first by name', { db3: orphan(), db2: orphan() }, 'db2'],
    [
      'the one that has received more, though it has applied less',
      {
        db2: orphan({ has: '0-1-100' }),
        db3: orphan({ has: '0-1-90', replication: { receivedPosition: '0-1-101', drained: false } }),
      },
      'db3',
    ],
    [
      'a replica of a replica, when that is the one left',
      { db2: orphan({ down: 'x' }), db3: { from: 'db2' } },
      'db3',
    ],
    [
      'one with own transactions that the others have, too (it was the primary before)',
      {
        db1: { ...DOWN, facts: { history: '0-1-100,0-2-90' } },
        db2: orphan({ facts: { history: '0-1-100,0-2-90', ownTransactions: '0-2-90' } }),
      },
      'db2',
    ],
    ['one of a later version', { db2: orphan({ facts: { version: '11.4.1-MariaDB' } }) }, 'db2'],
    [
      'one of another patch of the same version',
      { db2: orphan({ facts: { version: '10.11.2-MariaDB' } }) },
      'db2',
    ],
    [
      'one whose applier is stopped but has nothing left to apply',
      { db2: orphan({ replication: { applier: 'stopped' } }) },
      'db2',
    ],
    ['one of a primary that was never seen', { db1: { down: 'x', facts: null }, db2: orphan() }, 'db2'],
  ];
  for (const [name, servers, winner] of table) {
    test(name, () => {
      const result = election(servers);
      assert.equal(result.winner?.name, winner, result.reason);
      assert.deepEqual([result.reason, result.loss], ['', '']);
      assert.equal(outcomes(result)[winner], 'elected');
    });
  }
});

suite('not elected is', () => {
  const table: [string, ServerDescription, RegExp][] = [
    ['one that an operator took out', orphan({ admin: 'draining' }), /set draining by an operator/],
    ['one that does not answer', orphan({ suspect: 'timed out' }), /does not answer well: timed out/],
    ['one without weight', orphan({ rwWeight: 0 }), /its rw_weight is 0/],
    ['a follower that takes no traffic', orphan({ backend: { follow: true } }), /it has follow = on/],
    ['one without a binary log', orphan({ facts: { logsChanges: false } }), /log_bin/],
    ['one without global ids', orphan({ facts: { hasGtid: false } }), /gtid_mode/],
    ['one that follows nobody', {}, /does not replicate from db1/],
    ['one that follows another', { from: 'elsewhere' }, /does not replicate from db1/],
    ['one with several sources', orphan({ replication: { channels: 2 } }), /from 2 sources/],
    [
      'one that cannot apply what it has received',
      orphan({ replication: { applier: 'stopped', drained: false, applierError: 'Duplicate entry' } }),
      /cannot apply, as its applier is stopped: Duplicate entry/,
    ],
    [
      'one that was never seen in sync',
      orphan({ record: { lastInSync: null } }),
      /did not work when db1 was last seen well/,
    ],
    [
      'one whose replication had stopped long before',
      orphan({ record: { lastInSync: { atMs: LAST_SEEN_MS - 60_000, lagMs: 0 } } }),
      /did not work when db1 was last seen well/,
    ],
    [
      'one that lagged',
      orphan({ record: { lastInSync: { atMs: LAST_SEEN_MS, lagMs: 10_001 } } }),
      /lagged 10001 ms .*more than max_lag/,
    ],
    [
      'one of an older version',
      orphan({ facts: { version: '10.6.18-MariaDB' } }),
      /version 10\.6\.18-MariaDB is older than 10\.11\.6-MariaDB of db1/,
    ],
    [
      'one with a transaction of its own (MariaDB, the number of another one)',
      orphan({
        has: '0-1-99',
        facts: { position: '0-2-100', history: '0-1-99,0-2-100', ownTransactions: '0-2-100' },
      }),
      /transactions of its own: 0-2-100/,
    ],
  ];
  for (const [name, server, reason] of table) {
    test(name, () => {
      const result = election({ db2: server });
      assert.equal(result.winner, null);
      assert.match(result.reason, reason);
      assert.deepEqual(outcomes(result), { db2: 'ineligible' });
    });
  }

  /** A process that has never seen the primary asks what an earlier one has written down of db2. */
  const unseen = (ownTransactions: string, before: string | null): Election => {
    const db2 = orphan({ facts: { history: ownTransactions, ownTransactions } });
    const survey = surveyOf({
      servers: { db1: { ...DOWN, facts: null }, db2 },
      ...(before !== null && { ownWrites: { db2: before } }),
    });
    return elect(survey, survey.members[0]!, { only: null, force: false });
  };
  const writtenOn: [string, string, string | null, string | null][] = [
    ['MariaDB: there was nothing', '0-2-101', '', '0-2-101'],
    ['MariaDB: there was less', '0-2-101,1-2-7', '0-2-90,1-2-7', '0-2-101'],
    ['MariaDB: it was there', '0-2-90', '0-2-90', null],
    ['MySQL: there was less', `${U}:1-5`, `${U}:1-4`, `${U}:1-5`],
    ['MySQL: it was there', `${U}:1-4`, `${U}:1-4`, null],
    ['nothing is known of the time before', '0-2-101', null, null],
    ['it has written nothing itself', '', '', null],
  ];
  for (const [name, own, before, words] of writtenOn) {
    test(`one on which somebody has written since the primary was seen last, by an earlier process; ${name}`, () => {
      const { winner, reason } = unseen(own, before);
      assert.equal(winner?.name ?? null, words === null ? 'db2' : null);
      if (words !== null) assert.ok(reason.endsWith(`since it was started: ${words}`), reason);
    });
  }

  test('one with transactions of its own (MySQL), by how many', () => {
    const result = election({
      db1: { ...DOWN, has: `${U}:1-9` },
      db2: orphan({
        has: `${U}:1-9`,
        facts: { position: `${U}:1-9,${V}:1-2`, ownTransactions: `${V}:1-2` },
      }),
    });
    assert.match(result.reason, /transactions of its own: 2 of/);
  });

  test('anybody, when there is nobody else', () => {
    assert.deepEqual(election({}), {
      winner: null,
      reason: 'there is no other server',
      candidacies: [],
      loss: '',
      leaves: '',
    });
  });

  test('one that is passed over is told why', () => {
    const { candidacies } = election({ db2: orphan(), db3: orphan() });
    assert.deepEqual(candidacies[1], {
      backend: 'db3',
      outcome: 'passed_over',
      reason: 'db2 has received more, has the greater weight, or comes first by name',
    });
  });
});

suite('one that is ahead but may not be elected', () => {
  const servers = {
    db1: { ...DOWN, has: '0-1-101' },
    db2: orphan({ has: '0-1-100' }),
    db3: orphan({ has: '0-1-101', rwWeight: 0 }),
  };

  test('stops the election, as what it has would be lost', () => {
    const { winner, reason, candidacies } = election(servers);
    assert.equal(winner, null);
    assert.match(reason, /db3 has received more than db2 .*0-1-101.* against .*its rw_weight is 0/);
    assert.equal(candidacies.find(({ backend }) => backend === 'db2')?.reason, 'nobody was elected');
  });

  test('does not when no client can have been told of what it has', () => {
    const survey = surveyOf({
      cluster: { semiSync: 'require' },
      servers: {
        db1: { ...DOWN, waitsFor: 1, has: '0-1-100' },
        db2: orphan({ has: '0-1-100', answers: true }),
        db3: orphan({ has: '0-1-101', answers: false, backend: { follow: true } }),
      },
    });
    const { winner, loss, leaves } = elect(survey, survey.members[0]!, { only: null, force: false });
    assert.deepEqual([winner?.name, loss, leaves], ['db2', '', 'what only db3 has received']);
  });

  test('stops it when it acknowledges, too', () => {
    const survey = surveyOf({
      cluster: { semiSync: 'require' },
      servers: {
        db1: { ...DOWN, waitsFor: 2, has: '0-1-100' },
        db2: orphan({ has: '0-1-100', answers: true }),
        db3: orphan({ has: '0-1-101', answers: true, rwWeight: 0 }),
      },
    });
    const { winner, reason } = elect(survey, survey.members[0]!, { only: null, force: false });
    assert.equal(winner, null);
    assert.match(reason, /db3 has received more/);
  });

  test('does not when it is forced; then the loss is told', () => {
    const { winner, loss } = election(servers, { force: true });
    assert.deepEqual([winner?.name, loss], ['db2', 'what only db3 has received']);
  });

  test('does not in a planned change, where all will have everything', () => {
    const { winner, loss } = election(servers, { planned: true });
    assert.deepEqual([winner?.name, loss], ['db2', '']);
  });

  test('is elected when the operator names it, whatever its weight', () => {
    assert.equal(election(servers, { only: 'db3' }).winner?.name, 'db3');
  });
});

suite('an operator’s choice', () => {
  const both = { db2: orphan(), db3: orphan() };

  test('is taken though another would come first', () => {
    const result = election(both, { only: 'db3' });
    assert.equal(result.winner?.name, 'db3');
    assert.equal(result.candidacies[0]?.reason, 'the operator named db3');
  });

  test('is not taken when another has received more', () => {
    const { winner, reason } = election({ db2: orphan({ has: '0-1-101' }), db3: orphan() }, { only: 'db3' });
    assert.equal(winner, null);
    assert.match(reason, /db2 has received more than db3 .*it was not named/);
  });

  test('forced, is taken though it was behind; not though it has own transactions', () => {
    const behind = orphan({ record: { lastInSync: null } });
    assert.equal(election({ db2: behind }, { only: 'db2', force: true }).winner?.name, 'db2');
    const errant = orphan({
      has: '0-1-99',
      facts: { position: '0-2-100', history: '0-1-99,0-2-100', ownTransactions: '0-2-100' },
    });
    assert.equal(election({ db2: errant }, { only: 'db2', force: true }).winner, null);
  });
});

test('in a planned change the weight decides, not who is ahead for the moment', () => {
  const servers = {
    db1: {},
    db2: { from: 'db1', has: '0-1-100', rwWeight: 5 },
    db3: { from: 'db1', has: '0-1-101' },
  };
  assert.equal(election(servers, { planned: true }).winner?.name, 'db2');
  assert.equal(election(servers).winner?.name, 'db3');
});
