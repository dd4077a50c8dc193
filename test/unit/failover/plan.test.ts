import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  advance,
  stepsOf,
  type PlanState,
  type PromotionKind,
  type StepName,
} from '../../../src/failover/plan.ts';

const KINDS: readonly PromotionKind[] = ['switchover', 'failover', 'adopt'];

/** Runs a plan in which these commands fail; answers the commands in order and the last state. */
function run(
  kind: PromotionKind,
  failing: { do?: readonly StepName[]; undo?: readonly StepName[] } = {},
): { commands: string[]; state: PlanState } {
  const commands: string[] = [];
  let move = advance({ phase: 'ready', kind }, { kind: 'begin' });
  while (move.command.kind !== 'finish') {
    const { kind: what, step } = move.command;
    commands.push(`${what} ${step}`);
    assert.ok(commands.length < 40, 'the plan must end');
    const fails = failing[what]?.includes(step) === true;
    move = advance(move.state, fails ? { kind: 'failed', reason: 'why' } : { kind: 'succeeded' });
  }
  return { commands, state: move.state };
}

test('a switchover does all steps in the order that never gives two writers', () => {
  const { commands, state } = run('switchover');
  assert.deepEqual(commands, [
    'do hold',
    'do end_sessions',
    'do fence',
    'do catch_up',
    'do stop_replication',
    'do record',
    'do make_writable',
    'do weights',
    'do publish',
    'do repoint',
    'do semi_sync',
  ]);
  assert.deepEqual(state, { phase: 'done', kind: 'switchover', gaps: [] });
});

test('a failover has no fence, an adoption only makes the server the primary', () => {
  assert.equal(stepsOf('failover').includes('fence'), false);
  assert.deepEqual(stepsOf('adopt'), ['hold', 'record', 'make_writable', 'publish']);
});

suite('for every kind and every step that fails', () => {
  for (const kind of KINDS) {
    const steps = stepsOf(kind);
    const last = steps.indexOf('make_writable');
    for (const [index, step] of steps.entries()) {
      test(`${kind}: ${step}`, () => {
        const { commands, state } = run(kind, { do: [step] });
        if (index <= last) {
          assert.equal(state.phase, 'undone');
          assert.equal(commands.at(-1), 'undo hold', 'waiting clients are let go in the end');
          assert.deepEqual(
            commands.slice(0, index + 1),
            steps.slice(0, index + 1).map((one) => `do ${one}`),
          );
          const undone = commands.slice(index + 1).map((command) => command.replace('undo ', ''));
          const expected = steps
            .slice(0, index + 1)
            .filter((one) => one !== 'end_sessions')
            .reverse();
          assert.deepEqual(undone, expected, 'what was done is taken back, the last first');
        } else {
          assert.deepEqual(
            state,
            { phase: 'done', kind, gaps: [{ step, reason: 'why' }] },
            'from here on it only goes forward',
          );
          assert.equal(commands.length, steps.length);
        }
      });
    }
  }
});

suite('an undo that fails', () => {
  test('of the record: the old primary stays fenced, since the record says another', () => {
    const { commands, state } = run('switchover', { do: ['make_writable'], undo: ['record'] });
    assert.equal(commands.includes('undo fence'), false);
    assert.equal(commands.at(-1), 'undo hold');
    assert.deepEqual(state.phase === 'undone' && state.left, [{ step: 'record', reason: 'why' }]);
  });

  test('of making it writable: it may be a writer, so the old primary stays fenced and the record stays', () => {
    const { commands, state } = run('switchover', { do: ['make_writable'], undo: ['make_writable'] });
    assert.equal(commands.includes('undo fence'), false);
    assert.equal(commands.includes('undo record'), false);
    assert.equal(commands.at(-1), 'undo hold');
    assert.deepEqual(state.phase === 'undone' && state.left, [{ step: 'make_writable', reason: 'why' }]);
  });

  test('of the replica’s side: the old primary is let write again all the same', () => {
    const { commands, state } = run('switchover', { do: ['catch_up'], undo: ['catch_up'] });
    assert.equal(commands.includes('undo fence'), true);
    assert.deepEqual(state.phase === 'undone' && state.left, [{ step: 'catch_up', reason: 'why' }]);
  });

  test('of the hold: it ends', () => {
    const { state } = run('adopt', { do: ['hold'], undo: ['hold'] });
    assert.equal(state.phase, 'undone');
  });
});

test('an event that cannot come is an error', () => {
  assert.throws(() => advance({ phase: 'ready', kind: 'adopt' }, { kind: 'succeeded' }), /cannot come/);
  const { state } = run('adopt');
  assert.throws(() => advance(state, { kind: 'succeeded' }), /cannot come/);
  assert.throws(
    () => advance({ phase: 'doing', kind: 'adopt', step: 'hold', gaps: [] }, { kind: 'begin' }),
    /cannot come/,
  );
});
