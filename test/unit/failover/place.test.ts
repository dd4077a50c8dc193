import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { decidePromotion } from '../../../src/failover/check.ts';
import { choresOf } from '../../../src/failover/chores.ts';
import { diagnose } from '../../../src/failover/diagnosis.ts';
import { divergencesOf } from '../../../src/failover/divergence.ts';
import { elect, type Election } from '../../../src/failover/election.ts';
import { hasAllOf, hasLogOf } from '../../../src/failover/history.ts';
import { comparePlaces, handoverOf, standingOf } from '../../../src/failover/place.ts';
import type { ServerFacts } from '../../../src/monitor/observation.ts';
import {
  memberFrom,
  surveyOf,
  type ClusterDescription,
  type ServerDescription,
} from '../../support/clusters.ts';
import { byPlace, handover, placeAt, replicaByPlace } from '../../support/places.ts';

function factsOf(name: string, description: ServerDescription): ServerFacts {
  return memberFrom(name, description).record.facts!;
}

const PRIMARY = factsOf('db1', byPlace('u1', '2:500'));

suite('of two places in one log the later one is ahead', () => {
  const table: [string, string, string, number | null][] = [
    ['the same', '2:500', '2:500', 0],
    ['further in one file', '2:501', '2:500', 1],
    ['less far', '2:120', '2:500', -1],
    ['in a later file, though at a lower position', '3:120', '2:500', 1],
    ['the tenth file comes after the ninth', '10:4', '9:900', 1],
    ['and so does the millionth', '1000000:4', '999999:900', 1],
  ];
  for (const [what, one, other, expected] of table) {
    test(what, () => {
      const order = comparePlaces(placeAt('u1', one), placeAt('u1', other));
      assert.equal(order === null ? null : Math.sign(order), expected);
    });
  }

  test('places in the logs of two servers do not compare, nor do files of other names', () => {
    assert.equal(comparePlaces(placeAt('u1', '2:500'), placeAt('u2', '2:500')), null);
    const renamed = { ...placeAt('u1', '2:500'), file: 'mysql-bin.000002' };
    assert.equal(comparePlaces(renamed, placeAt('u1', '2:500')), null);
  });
});

suite('without global ids who has all of another is told', () => {
  const replica = (received: string, over?: ServerDescription): ServerFacts =>
    factsOf('db2', replicaByPlace('u2', '1:900', received, over));
  const table: [string, ServerFacts, ServerFacts, boolean][] = [
    ['of two replicas of one source, equal', replica('2:500'), replica('2:500'), true],
    ['ahead', replica('2:501'), replica('2:500'), true],
    ['behind', replica('2:400'), replica('2:500'), false],
    ['of a replica and its source, all received', replica('2:500'), PRIMARY, true],
    ['of a replica and its source, not yet', replica('2:499'), PRIMARY, false],
    ['of a source and its replica', PRIMARY, replica('2:500'), true],
    [
      'not of replicas of two sources',
      replica('2:500'),
      replica('2:400', { replication: { sourceUuid: 'u9' } }),
      false,
    ],
    [
      'not of one that does not know its source',
      replica('2:500', { replication: { sourceUuid: '' } }),
      PRIMARY,
      false,
    ],
    [
      'not of two servers that do not follow each other',
      factsOf('db2', byPlace('u2', '9:1')),
      PRIMARY,
      false,
    ],
    ['not where only one has global ids', factsOf('db2', { from: 'db1' }), PRIMARY, false],
  ];
  for (const [what, one, other, expected] of table) {
    test(what, () => {
      assert.equal(hasAllOf(one, other), expected);
      if (other === PRIMARY) assert.equal(hasLogOf(one, other), expected);
    });
  }
});

suite('a failover without global ids', () => {
  const election = (servers: Record<string, ServerDescription>): Election => {
    const db1 = byPlace('u1', '2:500', { down: 'connection refused' });
    const survey = surveyOf({ servers: { db1, ...servers } });
    return elect(survey, survey.members[0]!, { only: null, force: false });
  };
  const orphan = (uuid: string, received: string, over: ServerDescription = {}): ServerDescription =>
    replicaByPlace(uuid, '1:900', received, { hears: 'lost', ...over });

  test('elects who has received furthest, whatever its weight', () => {
    const found = election({ db2: orphan('u2', '2:400', { rwWeight: 9 }), db3: orphan('u3', '2:500') });
    assert.equal(found.winner?.name, 'db3');
  });

  test('elects nobody when one that may not be elected has received more', () => {
    const found = election({ db2: orphan('u2', '2:400'), db3: orphan('u3', '2:500', { rwWeight: 0 }) });
    assert.equal(found.winner, null);
    assert.match(
      found.reason,
      /db3 has received more than db2 \(binlog\.000002:500 of host-db1:3306 against/,
    );
  });

  const table: [string, ServerDescription, RegExp][] = [
    [
      'one that applies several changes at once',
      orphan('u2', '2:500', { facts: { whyNotByPlace: 'it must apply one after the other' } }),
      /one after the other/,
    ],
    ['one with global ids', { from: 'db1', hears: 'lost' }, /such a mixture/],
  ];
  for (const [what, db2, reason] of table) {
    test(`does not elect ${what}`, () => {
      const { winner, candidacies } = election({ db2 });
      assert.equal(winner, null);
      assert.match(candidacies[0]!.reason, reason);
    });
  }

  test('does not elect a replica of a replica', () => {
    const below = orphan('u3', '1:900', {
      from: 'db2',
      hears: 'receives',
      replication: { sourceUuid: 'u2' },
    });
    const { candidacies } = election({ db2: orphan('u2', '2:500', { rwWeight: 0 }), db3: below });
    assert.match(candidacies[1]!.reason, /not replicate from db1 directly/);
  });
});

suite('a switchover without global ids', () => {
  const decide = (servers: Record<string, ServerDescription>, target = 'db2'): string => {
    const wish = { target, named: true, as: 'switchover', force: false } as const;
    const cluster = { replicationUser: 'replication' };
    const verdict = decidePromotion(surveyOf({ cluster, servers }), wish);
    return verdict.kind === 'refused' ? verdict.reason : verdict.kind;
  };
  const db1 = byPlace('u1', '2:500');
  const db2 = replicaByPlace('u2', '1:900', '2:500');

  test('is decided on', () => assert.equal(decide({ db1, db2 }), 'switchover'));

  test('is refused in a mixture, on the old primary that cannot tell its place, and below another replica', () => {
    assert.match(decide({ db1: {}, db2 }), /on at the old primary and off at it \(gtid_mode\)/);
    const parallel = byPlace('u1', '2:500', { facts: { whyNotByPlace: 'log_slave_updates must be on' } });
    assert.match(decide({ db1: parallel, db2 }), /of db1: log_slave_updates must be on/);
    const db3 = replicaByPlace('u3', '1:100', '1:900', { from: 'db2', replication: { sourceUuid: 'u2' } });
    assert.match(decide({ db1, db2, db3 }, 'db3'), /not from db1 directly/);
  });

  test('a writable stranger is not adopted, however far its own log is', () => {
    const wish = { target: 'db2', named: true, as: 'any', force: false } as const;
    const stopped = { ...db1, facts: { ...db1.facts, readOnly: true } };
    const survey = surveyOf({ servers: { db1: stopped, db2: byPlace('u2', '9:900') } });
    const verdict = decidePromotion(survey, wish);
    assert.match(
      verdict.kind === 'refused' ? verdict.reason : verdict.kind,
      /cannot be told without global ids/,
    );
  });
});

suite('where a server stands after a handover', () => {
  const primary = factsOf('db2', byPlace('u2', '1:900'));
  const given = handover('2:500', '1:700');
  const kindOf = (facts: ServerFacts, known: typeof given | null = given, isThere = false): string => {
    const standing = standingOf(facts, primary, known, isThere);
    return standing.kind === 'replica' ? `replica ${Math.sign(standing.order)}` : standing.kind;
  };
  const replica = (applied: string, over?: ServerDescription): ServerFacts =>
    factsOf('db3', replicaByPlace('u3', '1:100', '2:800', { applied, ...over }));

  test('is the handover of what its replication says', () => {
    const facts = factsOf('db2', replicaByPlace('u2', '1:700', '2:520', { applied: '2:500' }));
    assert.deepEqual(handoverOf(facts), handover('2:500', '1:700', '2:520'));
    assert.equal(handoverOf(factsOf('db2', byPlace('u2', '1:700'))), null, 'it follows nobody');
  });

  const table: [string, string, string][] = [
    ['a replica at the end', kindOf(replica('2:500')), 'replica 0'],
    ['one that is behind', kindOf(replica('1:900')), 'replica -1'],
    ['one that is ahead', kindOf(replica('2:501')), 'replica 1'],
    ['one of another source', kindOf(replica('2:500', { replication: { sourceUuid: 'u9' } })), 'unknown'],
    [
      'one that follows the new primary',
      kindOf(replica('1:700', { replication: { sourceUuid: 'u2' } })),
      'there',
    ],
    [
      'one that was told to, and has not reached it yet',
      kindOf(replica('1:700', { replication: { sourceUuid: '' } }), given, true),
      'there',
    ],
    [
      'one that has not reached its source',
      kindOf(replica('2:500', { replication: { sourceUuid: '' } })),
      'unknown',
    ],
    ['the old primary', kindOf(PRIMARY), 'old_primary'],
    ['the old primary with another log', kindOf(factsOf('db1', byPlace('u8', '2:500'))), 'unknown'],
    ['anybody when nothing was recorded', kindOf(replica('2:500'), null), 'unknown'],
    [
      'anybody when the handover was another one’s',
      kindOf(replica('2:500'), { ...given, start: placeAt('u7', '1:700') }),
      'unknown',
    ],
    ['one with global ids', kindOf(factsOf('db3', { from: 'db1' })), 'unknown'],
  ];
  for (const [what, found, expected] of table)
    test(`${what}: ${expected}`, () => assert.equal(found, expected));
});

suite('the chores without global ids', () => {
  const cluster = { rejoin: 'auto' } as const;
  const db2 = byPlace('u2', '1:900');
  const old = byPlace('u1', '3:120', { facts: { readOnly: true } });
  const chores = (
    over: Partial<ClusterDescription>,
    servers: Record<string, ServerDescription>,
  ): string[] => {
    const survey = surveyOf({ cluster, remembered: 'db2', ...over, servers });
    assert.deepEqual(divergencesOf(survey, []), [], 'that is read out of its log');
    return choresOf(survey, diagnose(survey), 0).map(({ kind, backend }) => `${kind} ${backend}`);
  };

  test('have an old primary follow whose place was recorded, and no other', () => {
    const known = { handover: handover('2:500', '1:700') };
    assert.deepEqual(chores(known, { db1: old, db2 }), ['follow db1']);
    assert.deepEqual(chores({}, { db1: old, db2 }), []);
    assert.deepEqual(chores(known, { db1: byPlace('u8', '3:120', { facts: { readOnly: true } }), db2 }), []);
    assert.deepEqual(chores({ ...known, cluster: { rejoin: 'report' } }, { db1: old, db2 }), []);
  });

  test('leave a replica below the old primary alone that has followed by then', () => {
    const db1 = replicaByPlace('u1', '3:120', '1:900', { from: 'db2', replication: { sourceUuid: 'u2' } });
    const db3 = replicaByPlace('u3', '1:100', '3:120');
    assert.deepEqual(chores({ handover: handover('2:500', '1:700') }, { db1, db2, db3 }), []);
  });
});

test('what was read out of the log of an old primary stays known until it follows', () => {
  const known = [{ backend: 'db1', extras: 'changes in its log after binlog.000002:500' }];
  const db2 = byPlace('u2', '1:900');
  const old = byPlace('u1', '3:120', { facts: { readOnly: true } });
  const looked = (db1: ServerDescription): unknown =>
    divergencesOf(surveyOf({ remembered: 'db2', servers: { db1, db2 } }), known);
  assert.deepEqual(looked(old), known);
  const back = replicaByPlace('u1', '3:120', '1:900', { from: 'db2', replication: { sourceUuid: 'u2' } });
  assert.deepEqual(looked(back), []);
});
