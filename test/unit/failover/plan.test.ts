import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  advance,
  canBeUndone,
  leavesTraces,
  resume,
  stepsOf,
  type PlanMove,
  type PlanShape,
  type PlanState,
  type PromotionKind,
  type StepName,
} from '../../../src/failover/plan.ts';
import { fuzz, type Random } from '../../support/fuzz.ts';

const KINDS: readonly PromotionKind[] = ['switchover', 'failover', 'adopt'];
const SHAPES: readonly PlanShape[] = KINDS.flatMap((kind) =>
  [false, true].map((waitsForReplica) => ({ kind, waitsForReplica })),
);
const NO_WAY_BACK: readonly StepName[] = ['end_sessions', 'elect', 'catch_up'];

interface Failing {
  do?: readonly StepName[];
  undo?: readonly StepName[];
}

/** Carries a plan on in which these commands fail; answers the commands in order and the last state. */
function carryOn(first: PlanMove, failing: Failing = {}): { commands: string[]; state: PlanState } {
  const commands: string[] = [];
  let move = first;
  while (move.command.kind !== 'finish') {
    const { kind: what, step } = move.command;
    commands.push(`${what} ${step}`);
    assert.ok(commands.length < 40, 'the plan must end');
    const fails = failing[what]?.includes(step) === true;
    move = advance(move.state, fails ? { kind: 'failed', reason: 'why' } : { kind: 'succeeded' });
  }
  return { commands, state: move.state };
}

function run(shape: PlanShape, failing: Failing = {}): { commands: string[]; state: PlanState } {
  return carryOn(advance({ phase: 'ready', shape }, { kind: 'begin' }), failing);
}

function nameOf({ kind, waitsForReplica }: PlanShape): string {
  return `${kind}${waitsForReplica ? ' that waits for a replica' : ''}`;
}

const SWITCHOVER: PlanShape = { kind: 'switchover', waitsForReplica: false };
const FAILOVER: PlanShape = { kind: 'failover', waitsForReplica: false };
const ADOPT: PlanShape = { kind: 'adopt', waitsForReplica: false };

test('a switchover does all steps in the order that never gives two writers', () => {
  const { commands, state } = run(SWITCHOVER);
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
  assert.deepEqual(state, { phase: 'done', shape: SWITCHOVER, gaps: [] });
});

test('a failover stops the receivers before it elects, and elects before it fences', () => {
  assert.deepEqual(stepsOf(FAILOVER).slice(0, 6), [
    'hold',
    'end_sessions',
    'stop_receivers',
    'elect',
    'fence',
    'catch_up',
  ]);
});

test('an adoption only makes the server the primary', () => {
  assert.deepEqual(stepsOf(ADOPT), ['hold', 'record', 'make_writable', 'publish', 'semi_sync']);
});

test('where a write must not be acknowledged by the primary alone, clients are let go last', () => {
  for (const kind of KINDS) {
    assert.equal(stepsOf({ kind, waitsForReplica: true }).at(-1), 'publish');
    const early = stepsOf({ kind, waitsForReplica: false });
    assert.equal(early.indexOf('publish') < early.indexOf('semi_sync'), true);
  }
});

test('in every kind the record precedes the writable server, and nothing is published before it', () => {
  for (const shape of SHAPES) {
    const steps = stepsOf(shape);
    const order = ['hold', 'record', 'make_writable', 'publish'].map((step) =>
      steps.indexOf(step as StepName),
    );
    assert.deepEqual(
      order,
      order.toSorted((one, other) => one - other),
    );
    assert.equal(steps[0], 'hold');
  }
});

test('what changes a server is on disk before it is done', () => {
  const traced = stepsOf({ kind: 'failover', waitsForReplica: true }).filter((step) =>
    leavesTraces({ kind: 'failover', waitsForReplica: true }, step),
  );
  assert.deepEqual(traced, [
    'stop_receivers',
    'fence',
    'stop_replication',
    'record',
    'make_writable',
    'repoint',
    'semi_sync',
  ]);
});

suite('for every kind and every step that fails', () => {
  for (const shape of SHAPES) {
    const steps = stepsOf(shape);
    const last = steps.indexOf('make_writable');
    for (const [index, step] of steps.entries()) {
      test(`${nameOf(shape)}: ${step}`, () => {
        const { commands, state } = run(shape, { do: [step] });
        assert.equal(canBeUndone(shape, step), index <= last);
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
            .filter((one) => !NO_WAY_BACK.includes(one))
            .reverse();
          assert.deepEqual(undone, expected, 'what was done is taken back, the last first');
        } else {
          assert.deepEqual(
            state,
            { phase: 'done', shape, gaps: [{ step, reason: 'why' }] },
            'from here on it only goes forward',
          );
          assert.equal(commands.length, steps.length);
        }
      });
    }
  }
});

suite('an undo that fails', () => {
  const undoing = (failing: Failing, shape = SWITCHOVER): { commands: string[]; left: unknown } => {
    const { commands, state } = run(shape, failing);
    assert.ok(state.phase === 'undone');
    return { commands: commands.filter((command) => command.startsWith('undo')), left: state.left };
  };

  test('of the record: the old primary stays fenced, since the record says another', () => {
    const { commands, left } = undoing({ do: ['make_writable'], undo: ['record'] });
    assert.deepEqual(commands, ['undo make_writable', 'undo record', 'undo hold']);
    assert.deepEqual(left, [{ step: 'record', reason: 'why' }]);
  });

  test('of making it writable: it may be a writer, so the old primary stays fenced and the record stays', () => {
    const { commands, left } = undoing({ do: ['make_writable'], undo: ['make_writable'] });
    assert.deepEqual(commands, ['undo make_writable', 'undo hold']);
    assert.deepEqual(left, [{ step: 'make_writable', reason: 'why' }]);
  });

  test('of the replica’s side: the old primary is let write again all the same', () => {
    const { commands, left } = undoing({ do: ['stop_replication'], undo: ['stop_replication'] });
    assert.deepEqual(commands, ['undo stop_replication', 'undo fence', 'undo hold']);
    assert.deepEqual(left, [{ step: 'stop_replication', reason: 'why' }]);
  });

  test('of the receivers: the hold ends all the same', () => {
    const { commands, left } = undoing({ do: ['elect'], undo: ['stop_receivers'] }, FAILOVER);
    assert.deepEqual(commands, ['undo stop_receivers', 'undo hold']);
    assert.deepEqual(left, [{ step: 'stop_receivers', reason: 'why' }]);
  });

  test('of the fence: only the hold is let go', () => {
    const { commands, left } = undoing({ do: ['catch_up'], undo: ['fence'] }, FAILOVER);
    assert.deepEqual(commands, ['undo fence', 'undo hold']);
    assert.deepEqual(left, [{ step: 'fence', reason: 'why' }]);
  });

  test('of the hold: it ends', () => {
    const { state } = run(ADOPT, { do: ['hold'], undo: ['hold'] });
    assert.equal(state.phase, 'undone');
  });
});

suite('taken up after it was cut off', () => {
  for (const shape of SHAPES) {
    const steps = stepsOf(shape);
    for (const [index, step] of steps.entries()) {
      const goesForward = index >= steps.indexOf('make_writable');
      test(`${nameOf(shape)}: in ${step} it ${goesForward ? 'goes on' : 'is taken back'}`, () => {
        const { commands, state } = carryOn(resume(shape, step, false, 'cut off'));
        assert.equal(state.phase, goesForward ? 'done' : 'undone');
        if (goesForward) {
          assert.deepEqual(
            commands,
            steps.slice(index).map((one) => `do ${one}`),
            'the step itself is done once more',
          );
        } else {
          assert.ok(commands.every((command) => command.startsWith('undo')));
          assert.equal(commands.at(-1), 'undo hold');
        }
      });

      if (canBeUndone(shape, step)) {
        test(`${nameOf(shape)}: while ${step} was taken back, it goes on being taken back`, () => {
          const { commands, state } = carryOn(resume(shape, step, true, 'cut off'));
          assert.deepEqual(
            commands,
            steps
              .slice(0, index + 1)
              .filter((one) => !NO_WAY_BACK.includes(one))
              .reverse()
              .map((one) => `undo ${one}`),
          );
          assert.equal(state.phase, 'undone');
        });
      }
    }

    test(`${nameOf(shape)}: before its first step only the hold is let go`, () => {
      const { commands, state } = carryOn(resume(shape, null, false, 'cut off'));
      assert.deepEqual(commands, ['undo hold']);
      assert.ok(state.phase === 'undone' && state.failure.reason === 'cut off');
    });
  }
});

/**
 * A world in which each command may fail, and then may have been done or not; the process may end between two
 * commands, when only the journal is left: the last step that had begun, and whether it was being taken back.
 */
suite('whatever fails and wherever it is cut off', () => {
  for (const shape of SHAPES) {
    test(`${nameOf(shape)}: it ends, never with two writers, and nobody is left waiting`, () => {
      fuzz(`plan of ${nameOf(shape)}`, (random) => play(shape, random));
    });
  }
});

function play(shape: PlanShape, random: Random): void {
  const happens = (oneIn: number): boolean => random(oneIn) === 0;
  const world = { held: false, oldWrites: shape.kind === 'switchover', newWrites: false, recorded: false };
  const journal: { step: StepName | null; undoing: boolean } = { step: null, undoing: false };
  let move = advance({ phase: 'ready', shape }, { kind: 'begin' });
  for (let count = 0; move.command.kind !== 'finish' || move.state.phase === 'stuck'; count++) {
    assert.ok(count < 400, 'the plan must end');
    if (move.command.kind === 'finish' || (count < 100 && happens(12))) {
      move = resume(shape, journal.step, journal.undoing, 'cut off');
      // Who takes it up holds the statements before anybody else can send one.
      world.held = true;
      continue;
    }
    const { kind, step } = move.command;
    if (kind === 'do') journal.step = step;
    const fails = count < 200 && happens(6);
    if (!fails || happens(2)) act(world, kind, step);
    assert.ok(!(world.oldWrites && world.newWrites), `two writers after ${kind} ${step}`);
    if (world.newWrites) assert.ok(world.recorded, 'a writer that is not on record');
    if ((fails && canBeUndone(shape, step)) || kind === 'undo') journal.undoing = true;
    move = advance(move.state, fails ? { kind: 'failed', reason: 'why' } : { kind: 'succeeded' });
    // The hold is let go whether or not a server could be asked how it is.
    if (step === (kind === 'do' ? 'publish' : 'hold')) world.held = false;
  }
  // A promotion whose clients had been let go before it was cut off lets them go at its end.
  if (move.state.phase === 'done') world.held = false;
  assert.equal(world.held, false, 'statements are left waiting');
  assert.ok(move.state.phase === 'done' || move.state.phase === 'undone');
}

function act(
  world: { held: boolean; oldWrites: boolean; newWrites: boolean; recorded: boolean },
  kind: 'do' | 'undo',
  step: StepName,
): void {
  const does = kind === 'do';
  if (step === 'hold') world.held = does;
  if (step === 'fence') world.oldWrites = !does;
  if (step === 'record') world.recorded = does;
  if (step === 'make_writable') world.newWrites = does;
}

test('taken up where the new primary is known not to have been made writable: what fails takes it back', () => {
  const { state } = resume(SWITCHOVER, 'make_writable', false, 'cut off');
  const move = advance(state, { kind: 'failed', reason: 'db1 can be written to again', untouched: true });
  assert.deepEqual(move.command, { kind: 'undo', step: 'make_writable' });
});

test('taken up where the new primary may be writable already, and it does not answer: it stays open', () => {
  const { commands, state } = carryOn(resume(SWITCHOVER, 'make_writable', false, 'cut off'), {
    do: ['make_writable'],
  });
  assert.deepEqual(commands, ['do make_writable'], 'nothing is taken back');
  assert.deepEqual(state, {
    phase: 'stuck',
    shape: SWITCHOVER,
    failure: { step: 'make_writable', reason: 'why' },
  });
});

test('an event that cannot come is an error', () => {
  assert.throws(() => advance({ phase: 'ready', shape: ADOPT }, { kind: 'succeeded' }), /cannot come/);
  const { state } = run(ADOPT);
  assert.throws(() => advance(state, { kind: 'succeeded' }), /cannot come/);
  assert.throws(
    () => advance({ phase: 'doing', shape: ADOPT, step: 'hold', gaps: [] }, { kind: 'begin' }),
    /cannot come/,
  );
});
