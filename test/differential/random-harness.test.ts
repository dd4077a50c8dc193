/**
 * The random test itself is tested: it is a function of its seed, its model of locks keeps steps from
 * waiting, it sees what differs, and it makes what fails short.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { refusal } from '../../src/base/errors.ts';
import type { Meaning } from '../support/wire-decode.ts';
import { firstDifference, report } from './random/difference.ts';
import { ENDPOINTS, SPLIT_PROFILES } from './random/endpoints.ts';
import { generate } from './random/generate.ts';
import { keptScenarios } from './random/kept.ts';
import { masked, type Answer } from './random/masks.ts';
import type { Scenario, Step } from './random/scenario.ts';
import { shrink } from './random/shrink.ts';
import { usesOf, World } from './random/world.ts';

const query = (session: number, sql: string): Step => ({ session, do: 'query', sql });

function row(...cells: string[]): Meaning {
  return { kind: 'row', cells, sequence: 1, pieces: 1 };
}

function ok(status: string[]): Meaning {
  const rest = { header: 0, affectedRows: '0', insertId: '0', warnings: 0, info: '', tracked: [] };
  return { kind: 'ok', status, ...rest, sequence: 1, pieces: 1 };
}

function error(message: string): Meaning {
  return { kind: 'error', errno: 1235, sqlState: '42000', message, sequence: 1, pieces: 1 };
}

/** As the split endpoint refuses a write in a READ ONLY transaction. */
function refusedOne(): Meaning {
  return error(refusal('DBPROXY_READ_ONLY_TRANSACTION', 'a write', 'a write').message);
}

function scenarioOf(...steps: Step[]): Scenario {
  return {
    flavour: 'mariadb',
    profile: 'transaction',
    seed: 1,
    flags: 'old',
    user: 'app',
    variablesByTrigger: false,
    sessions: 2,
    steps,
  };
}

describe('the generator', () => {
  it('makes the same scenario of a seed again, and another one of the next', () => {
    const [first, again, next] = [5, 5, 6].map((seed) => generate('mysql97', 'transaction', seed));
    assert.deepEqual(again, first);
    assert.notDeepEqual(next!.steps, first!.steps);
  });

  it('makes no scenario in which its own model would wait', () => {
    for (let seed = 0; seed < 200; seed++) {
      const { steps, sessions } = generate('mariadb', 'transaction', seed);
      const world = new World(Array.from({ length: sessions }, () => true));
      for (const step of steps) {
        assert.equal(world.wouldWait(step), false, JSON.stringify({ seed, step }));
        world.note(step);
      }
    }
  });

  it('has sessions beyond those that may be pinned do nothing that pins, where connections are few', () => {
    const { pinning } = ENDPOINTS.tight;
    for (let seed = 0; seed < 100; seed++) {
      for (const step of generate('mariadb', 'tight', seed).steps) {
        if ('lag' in step || step.session < pinning! || step.do !== 'query') continue;
        assert.doesNotMatch(step.sql, /^(begin|start|lock|prepare|call|create temporary)|f_write/i);
      }
    }
  });

  it('comes by every kind of step and every move of the replica', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 100; seed++) {
      for (const step of generate('mariadb', SPLIT_PROFILES[seed % SPLIT_PROFILES.length]!, seed).steps) {
        seen.add('lag' in step ? step.lag : step.do);
      }
    }
    const kinds =
      'catch_up change_user close execute fetch field_list hold init_db long_data ping prepare query reconnect release reset reset_statement set_option start stop';
    assert.equal([...seen].toSorted().join(' '), kinds);
  });
});

describe('the model of who holds what', () => {
  it('knows how a statement uses tables, also those behind views and routines', () => {
    assert.deepEqual([...usesOf('select * from item')], [['item', 'reads']]);
    assert.deepEqual([...usesOf('update item set stock = 1')], [['item', 'writes']]);
    assert.deepEqual([...usesOf('alter table shape add c int')], [['shape', 'changes']]);
    assert.equal(usesOf('select * from v_hidden').get('audit'), 'writes');
    assert.equal(usesOf('select * from kind for update').get('kind'), 'writes');
  });

  it('has others wait for what a transaction has written, until it ends', () => {
    const world = new World([true, true]);
    world.note(query(0, 'begin'));
    world.note(query(0, 'update item set stock = 1 where id = 1'));
    assert.equal(world.wouldWait(query(1, 'select * from item')), false);
    assert.equal(world.wouldWait(query(1, 'update item set stock = 2')), true);
    world.note(query(0, 'rollback'));
    assert.equal(world.wouldWait(query(1, 'update item set stock = 2')), false);
  });

  it('has a change of a table wait for a transaction that has read it', () => {
    const world = new World([true, true]);
    world.note(query(0, 'start transaction read only'));
    world.note(query(0, 'select * from shape'));
    assert.equal(world.wouldWait(query(1, 'alter table shape add column c1 int')), true);
  });

  it('has readers wait for LOCK TABLES … WRITE, and writers for READ', () => {
    const world = new World([true, true]);
    world.note(query(0, 'lock tables pairs read, kind write'));
    assert.equal(world.wouldWait(query(1, 'select * from kind')), true);
    assert.equal(world.wouldWait(query(1, 'select * from pairs')), false);
    assert.equal(world.wouldWait(query(1, "insert into pairs values ('x', 1)")), true);
    world.note(query(0, 'unlock tables'));
    assert.equal(world.wouldWait(query(1, 'select * from kind')), false);
  });
});

describe('the comparison', () => {
  const same: Answer = [row('1')];

  it('finds the first step that differs, and shows both answers and the step', () => {
    const difference = firstDifference(
      {
        direct: [same, [row('2')], same, [], []],
        proxied: [same, [row('3')], [], [], []],
      },
      'transaction',
    );
    assert.equal(difference?.at, 1);
    const text = report(scenarioOf(query(0, 'select 1'), query(1, 'select 2')), difference);
    assert.match(text, /> +1 select 2/);
    assert.match(text, /- #1 row \["2"\]\n.*\n +\+ #1 row \["3"\]/);
  });

  it('takes no error of dbproxy for a refusal that is not listed as one', () => {
    const refused = refusedOne();
    const other = error('something else is not available');
    const verdict = (answer: Meaning) =>
      firstDifference({ direct: [same, [], []], proxied: [[answer], [], []] }, 'transaction')?.refusal;
    assert.equal(verdict(refused), 'DBPROXY_READ_ONLY_TRANSACTION');
    assert.equal(verdict(other), null);
  });

  it('sees a replica that has other data than its primary, also after a refusal', () => {
    const refused = refusedOne();
    const data = (text: string): Answer => [{ kind: 'text', text, sequence: 0, pieces: 0 }];
    const difference = firstDifference(
      {
        direct: [same, data('w1.item: 1'), data('w1.item: 1')],
        proxied: [[refused], data('w1.item: 1'), data('w1.item: 2')],
      },
      'transaction',
    );
    assert.equal(difference?.at, 2);
    assert.equal(difference?.refusal, null);
  });

  it('compares rows as a set only where the statement asks for no order', () => {
    const [forth, back] = [
      [row('1'), row('2'), ok([])],
      [row('2'), row('1'), ok([])],
    ];
    assert.deepEqual(masked(forth, 'select id from item'), masked(back, 'select id from item'));
    const ordered = 'select id from item order by id';
    assert.notDeepEqual(masked(forth, ordered), masked(back, ordered));
    assert.notDeepEqual(masked([row('1'), row('1')], 'select 1'), masked([row('1')], 'select 1'));
  });

  it('looks away from the flags of the plan, and from no other', () => {
    const plain = masked([ok(['autocommit'])], '');
    assert.deepEqual(masked([ok(['autocommit', 'no_index'])], ''), plain);
    assert.notDeepEqual(masked([ok(['autocommit', 'in_trans'])], ''), plain);
  });
});

describe('shrinking', () => {
  const steps = Array.from({ length: 60 }, (_, index) => index);

  it('leaves only what is needed for the failure', async () => {
    const fails = async (part: readonly number[]): Promise<boolean> =>
      [7, 8, 41].every((one) => part.includes(one));
    assert.deepEqual(await shrink(steps, fails, () => false), [7, 8, 41]);
  });

  it('answers what it has when the time is over, and that still fails', async () => {
    let tries = 0;
    const fails = async (part: readonly number[]): Promise<boolean> => {
      tries++;
      return part.includes(59);
    };
    const part = await shrink(steps, fails, () => tries >= 3);
    assert.ok(part.includes(59) && part.length < 60);
    assert.equal(tries, 3);
  });
});

describe('kept scenarios', () => {
  it('are well formed: every file says why, and has steps', () => {
    for (const flavour of ['mariadb', 'mysql97', 'mysql56'] as const) {
      for (const { name, why, scenario } of keptScenarios(flavour)) {
        assert.ok(why.length > 10 && scenario.steps.length > 0, name);
      }
    }
  });
});
