import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { longGoneIn, longGoneOf } from '../../../src/failover/long-gone.ts';
import { NOW_MS, surveyOf, type ClusterDescription, type ServerDescription } from '../../support/clusters.ts';

const REPLICA: ServerDescription = { from: 'db1', answers: true };
const GONE: ServerDescription = { ...REPLICA, down: 'connection refused' };

/** The primary was last seen taking writes 10 s ago, and nobody unknown was connected for the minute before that. */
const REIGN = { askedMs: NOW_MS - 10_000, accountedSinceMs: NOW_MS - 70_000 };
const FOR_LONG = { db2: { goneMs: NOW_MS - 70_000 } };

function longGone(over: Partial<ClusterDescription>): string {
  const cluster = { semiSync: 'require', ...over.cluster } as const;
  return longGoneOf(
    surveyOf({ servers: { db1: {}, db2: GONE }, reign: REIGN, traces: FOR_LONG, ...over, cluster }),
  ).join();
}

suite('a replica was gone for long', () => {
  const table: [string, Partial<ClusterDescription>][] = [
    ['by a minute, when the primary was last seen taking writes', {}],
    ['when it was never seen beside that primary', { traces: {} }],
    [
      'as it was written down, for a process that has not seen the primary take writes',
      { reign: undefined, longGone: ['db2'] },
    ],
    [
      'as it was written down, for a process that has not seen it for so long',
      { reign: { ...REIGN, accountedSinceMs: REIGN.askedMs }, traces: {}, longGone: ['db2'] },
    ],
  ];
  for (const [name, over] of table) test(name, () => assert.equal(longGone(over), 'db2'));
});

suite('a replica was not gone for long', () => {
  const table: [string, Partial<ClusterDescription>][] = [
    ['that answers', { servers: { db1: {}, db2: REPLICA } }],
    ['that was there still in that minute', { traces: { db2: { goneMs: NOW_MS - 69_999 } } }],
    [
      'when one that could not be asked was connected in it',
      { reign: { ...REIGN, accountedSinceMs: NOW_MS - 69_999 } },
    ],
    ['when one is connected to the last', { reign: { ...REIGN, accountedSinceMs: null }, longGone: ['db2'] }],
    [
      'that answered this process since that was written down',
      { traces: { db2: { goneMs: NOW_MS } }, longGone: ['db2'] },
    ],
    ['for a process that has not seen the primary take writes', { reign: undefined }],
    ['where no commit need wait for it', { cluster: { semiSync: 'prefer' } }],
  ];
  for (const [name, over] of table) test(name, () => assert.equal(longGone(over), ''));

  test('by what was seen of the primary before another one was', () => {
    const survey = surveyOf({
      cluster: { semiSync: 'require' },
      servers: { db1: {}, db2: GONE },
      reign: REIGN,
    });
    const later = { ...survey.memory.reigns.get('db1')!, askedMs: NOW_MS - 5_000 };
    const memory = { ...survey.memory, reigns: new Map([...survey.memory.reigns, ['db2', later]]) };
    assert.deepEqual([longGoneOf(survey), longGoneOf({ ...survey, memory })], [['db2'], []]);
  });
});

test('what was written down holds in its epoch alone', () => {
  assert.deepEqual(longGoneIn(4, { epoch: 4, servers: ['db2'] }), ['db2']);
  assert.deepEqual(longGoneIn(5, { epoch: 4, servers: ['db2'] }), []);
  assert.deepEqual(longGoneIn(0, undefined), []);
});
