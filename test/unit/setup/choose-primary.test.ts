import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { choosePrimary, objectionsTo, obstacles } from '../../../src/setup/choose-primary.ts';
import { follows, primaryAmong } from '../../../src/setup/roles.ts';
import type { Survey } from '../../../src/setup/survey.ts';
import { replicationFacts } from '../../support/facts.ts';
import { clusterSurvey, survey } from '../../support/surveys.ts';

/** A server that is not set up: writable, or not, and following nobody. */
function standalone(name: string, readOnly: boolean): Survey {
  return survey(name, { facts: { readOnly, replication: null } });
}

function chosen(
  surveys: readonly Survey[],
  {
    remembered = null,
    withData = [],
    weights = {},
  }: {
    remembered?: string | null;
    withData?: string[];
    weights?: Record<string, number>;
  } = {},
): string | null {
  const rwWeight = (name: string): number => weights[name] ?? 1;
  return choosePrimary({ surveys, rwWeight, remembered, withData: new Set(withData) })?.backend.name ?? null;
}

describe('the primary of a bootstrap', () => {
  const blank = [standalone('db1', false), standalone('db2', false), standalone('db3', false)];

  test('is the one that is remembered, before all else', () => {
    assert.equal(chosen([survey('db1'), survey('db2')], { remembered: 'db2', withData: ['db1'] }), 'db2');
  });

  test('is the only one that takes writes', () => {
    assert.equal(chosen([standalone('db1', true), standalone('db2', false)]), 'db2');
  });

  test('is the one that all others follow, also when it is read-only just now', () => {
    const db1 = survey('db1', { facts: { readOnly: true } });
    assert.equal(chosen([survey('db2'), db1, survey('db3')]), 'db1');
  });

  test('is the only one with data', () => {
    assert.equal(chosen(blank, { withData: ['db2'] }), 'db2');
  });

  test('is the one with the highest rw_weight, else the first', () => {
    assert.equal(chosen(blank, { weights: { db3: 2 } }), 'db3');
    assert.equal(chosen(blank), 'db1');
  });

  test('is nobody with rw_weight = 0', () => {
    assert.equal(chosen(blank, { weights: { db1: 0 }, withData: ['db1'] }), 'db2');
    assert.equal(chosen(blank, { weights: { db1: 0, db2: 0, db3: 0 } }), null);
  });
});

describe('what stands in the way of a bootstrap', () => {
  const about = (
    surveys: readonly Survey[],
    remembered: string | null = null,
    filled: string | null = null,
  ): string => objectionsTo(surveys[0]!, { surveys, rwWeight: () => 1, remembered, filled }).join('\n');

  test('is nothing where all others follow or are alone', () => {
    assert.equal(about([survey('db1'), survey('db2'), standalone('db3', false)]), '');
  });

  test('is a server that follows somebody else', () => {
    const replication = replicationFacts({ sourceServerId: 99, sourceHost: 'elsewhere' });
    const db2 = survey('db2', { facts: { replication } });
    assert.match(
      about([survey('db1'), db2]),
      /db2 replicates from elsewhere:3306, not from db1.*STOP SLAVE; RESET SLAVE ALL;/,
    );
    assert.equal(
      about([survey('db1'), db2], null, 'db2'),
      '',
      'but not one that was just filled from a replica',
    );
  });

  test('is a server that others replicate from, as its history would begin anew', () => {
    const db2 = survey('db2', { facts: { replication: null }, rest: { followers: 2 } });
    assert.match(about([survey('db1'), db2]), /2 connection\(s\) read the binary log of db2/);
  });

  test('is a replication channel of a name', () => {
    const db2 = survey('db2', { facts: { replication: null }, backend: { channel: 'emea' } });
    assert.match(about([survey('db1'), db2]), /db2 has channel = emea/);
  });

  test('is a primary that follows', () => {
    assert.match(about([survey('db2'), survey('db1')]), /db2 replicates from .*, it is to be the primary/);
  });

  test('is another primary that is remembered', () => {
    assert.match(about([survey('db1')], 'db2'), /db2 is remembered as the primary/);
  });

  test('is each finding that SQL cannot mend, and each privilege that is missing', () => {
    const db2 = survey('db2', { facts: { logsChanges: false }, rest: { grants: [] } });
    const all = obstacles(clusterSurvey([survey('db1'), db2]), 'm');
    assert.equal(all.length, 2);
    assert.match(all[0]!, /^db2: it writes no binary log.*\(in my\.cnf/);
    assert.match(
      all[1]!,
      /^db2: m may not do all that this takes.*: SET SESSION sql_log_bin = 0; GRANT .* WITH GRANT OPTION; GRANT SELECT ON mysql/,
    );
  });

  test('is a privilege that the primary has to be given, and its replica by it', () => {
    const servers = [survey('db1', { rest: { grants: [] } }), survey('db2', { rest: { grants: [] } })];
    const [told, ...rest] = obstacles(clusterSurvey(servers), 'm');
    assert.deepEqual(rest, []);
    assert.match(told!, /^db1: .*: GRANT .* \(db2 gets it by replication\)$/);
  });

  test('is a privilege that one of a ring has to be given', () => {
    const fromDb2 = replicationFacts({ sourceServerId: 0, sourceHost: 'host-db2', sourcePort: 3306 });
    const db1 = survey('db1', { facts: { replication: fromDb2 }, rest: { grants: [] } });
    const [told, ...rest] = obstacles(clusterSurvey([db1, survey('db2', { rest: { grants: [] } })]), 'm');
    assert.deepEqual(rest, []);
    assert.match(told!, /^db1: .*: GRANT .* \(db2 gets it by replication\)$/);
  });
});

describe('who follows whom', () => {
  test('is told by the id of the source, and by its address before that is known', () => {
    const unknown = replicationFacts({ sourceServerId: 0, sourceHost: 'host-db1', sourcePort: 3306 });
    assert.equal(follows(survey('db2'), survey('db1')), true);
    assert.equal(follows(survey('db2', { facts: { replication: unknown } }), survey('db1')), true);
    const other = { ...unknown, sourceHost: 'host-db9' };
    assert.equal(follows(survey('db2', { facts: { replication: other } }), survey('db1')), false);
  });

  test('leaves it open with two writers that nobody follows', () => {
    assert.equal(primaryAmong([standalone('db1', false), standalone('db2', false)]), null);
  });
});
