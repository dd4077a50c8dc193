import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Slots } from '../../../src/backend/slots.ts';
import { SlotLedger, type LedgerAnswer } from '../../../src/topology/slots.ts';

const KEY = 'backend:db1';

/** A purse whose wishes are written down. */
function purse(): { slots: Slots; wanted: number[]; returned: number[] } {
  const wanted: number[] = [];
  const returned: number[] = [];
  const slots = new Slots({
    want: (_key, count) => wanted.push(count),
    giveBack: (_key, count) => returned.push(count),
  });
  return { slots, wanted, returned };
}

suite('a purse', () => {
  test('asks when it is empty, once, and tells when the slot is there', () => {
    const { slots, wanted } = purse();
    assert.equal(slots.tryTake(KEY), false);
    assert.equal(slots.tryTake(KEY), false);
    assert.equal(wanted.length, 1);
    let told = 0;
    slots.onFree(KEY, () => told++);
    slots.granted(KEY, 1);
    assert.equal(told, 1);
    assert.equal(slots.tryTake(KEY), true);
    assert.equal(slots.used(KEY), 1);
  });

  test('tells one waiter for each slot, in the order they came', () => {
    const { slots } = purse();
    const told: string[] = [];
    slots.tryTake(KEY);
    for (const name of ['a', 'b', 'c']) slots.onFree(KEY, () => told.push(name) && slots.tryTake(KEY));
    slots.granted(KEY, 2);
    assert.deepEqual(told, ['a', 'b']);
    slots.release(KEY);
    assert.deepEqual(told, ['a', 'b', 'c']);
  });

  test('asks again when fewer were granted than are waited for', () => {
    const { slots, wanted } = purse();
    slots.tryTake(KEY);
    for (let count = 0; count < 3; count++) slots.onFree(KEY, () => slots.tryTake(KEY));
    slots.granted(KEY, 1);
    assert.equal(wanted.length, 2);
  });

  test('sends back at once what was granted when nobody waits any more', () => {
    const { slots, returned } = purse();
    slots.tryTake(KEY);
    slots.onFree(KEY, () => assert.fail('has given up'))();
    slots.granted(KEY, 8);
    assert.deepEqual(returned, [8]);
    assert.equal(slots.tryTake(KEY), false);
  });

  test('does not tell a waiter that has taken its wish back', () => {
    const { slots } = purse();
    slots.tryTake(KEY);
    const told: string[] = [];
    const cancel = slots.onFree(KEY, () => told.push('gone'));
    slots.onFree(KEY, () => told.push('here'));
    cancel();
    cancel();
    slots.granted(KEY, 1);
    assert.deepEqual(told, ['here']);
  });

  test('gives back what idles when it is asked to, and what becomes free when nothing idled', () => {
    const { slots, returned } = purse();
    slots.tryTake(KEY);
    slots.onFree(KEY, () => undefined);
    slots.granted(KEY, 3);
    slots.tryTake(KEY);
    slots.giveBackIdle(KEY);
    assert.deepEqual(returned, [2]);
    slots.giveBackIdle(KEY);
    assert.equal(slots.isOwed(KEY), true);
    slots.release(KEY);
    assert.deepEqual(returned, [2, 1]);
    assert.equal(slots.isOwed(KEY), false);
  });

  test('gives an owed slot back that the waiter told of it does not take', () => {
    const { slots, returned } = purse();
    slots.tryTake(KEY);
    slots.onFree(KEY, () => slots.tryTake(KEY));
    slots.granted(KEY, 1);
    slots.giveBackIdle(KEY);
    slots.onFree(KEY, () => undefined);
    slots.release(KEY);
    assert.deepEqual(returned, [1]);
  });

  test('keeps the keys apart, and does not take one slot back twice', () => {
    const { slots } = purse();
    slots.tryTake('a');
    slots.onFree('a', () => undefined);
    slots.granted('a', 1);
    assert.equal(slots.tryTake('b'), false);
    assert.equal(slots.tryTake('a'), true);
    slots.release('a');
    assert.throws(() => slots.release('a'));
  });
});

/** A worker in the model: clients come, wait, are served, give up and go. */
class ModelWorker {
  readonly slots: Slots;
  waiting: (() => void)[] = [];
  used = 0;
  served = 0;

  constructor(send: (answer: LedgerAnswer) => void, ledger: SlotLedger, holder: number) {
    this.slots = new Slots({
      want: (key, count) => send(ledger.want(holder, key, count)),
      giveBack: (key, count) => send(ledger.giveBack(holder, key, count)),
    });
  }

  arrive(): void {
    if (this.slots.tryTake(KEY)) this.#serve();
    else this.#wait();
  }

  #wait(): void {
    const cancel = this.slots.onFree(KEY, () => {
      this.waiting.splice(this.waiting.indexOf(cancel), 1);
      this.arrive();
    });
    this.waiting.push(cancel);
  }

  #serve(): void {
    this.used++;
    this.served++;
  }

  giveUp(index: number): void {
    this.waiting.splice(index, 1)[0]?.();
  }

  leave(): void {
    this.used--;
    this.slots.release(KEY);
  }
}

suite('purses and the ledger of the supervisor together', () => {
  /** Plays `steps` random events of three workers; messages travel late, but in order. */
  function play(seed: number, limit: number, steps: number): { workers: ModelWorker[]; settle: () => void } {
    let state = seed;
    const random = (below: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const ledger = new SlotLedger();
    ledger.setLimit(KEY, limit);
    const mail: (() => void)[] = [];
    const workers: ModelWorker[] = [];
    const send = (answer: LedgerAnswer): void => {
      for (const { holder, count } of answer.grants)
        mail.push(() => workers[holder]!.slots.granted(KEY, count));
      for (const { holder, must } of answer.wantedBack) {
        mail.push(() => workers[holder]!.slots.giveBackIdle(KEY, must));
      }
    };
    for (let holder = 0; holder < 3; holder++) workers.push(new ModelWorker(send, ledger, holder));
    const check = (): void => {
      const used = workers.reduce((sum, worker) => sum + worker.used, 0);
      assert.ok(used <= limit, `${used} of ${limit} are used`);
      assert.ok(ledger.standing(KEY)!.granted <= limit);
      for (const worker of workers) assert.equal(worker.slots.used(KEY), worker.used);
    };
    for (let step = 0; step < steps; step++) {
      const worker = workers[random(3)]!;
      const event = random(10);
      if (event < 4) worker.arrive();
      else if (event < 7 && worker.used > 0) worker.leave();
      else if (event === 7 && worker.waiting.length > 0) worker.giveUp(random(worker.waiting.length));
      else mail.shift()?.();
      check();
    }
    const settle = (): void => {
      for (let letters = 0; mail.length > 0; letters++) {
        assert.ok(letters < 100_000, 'the messages come to no end');
        mail.shift()!();
        check();
      }
    };
    return { workers, settle };
  }

  test('never use more than the limit, and the last waiter is served when all others have gone', () => {
    for (let seed = 1; seed <= 150; seed++) {
      const { workers, settle } = play(seed, 1 + (seed % 12), 300);
      settle();
      // All who are served leave, again and again: nobody may be left waiting.
      for (let rounds = 0; workers.some(({ waiting, used }) => waiting.length + used > 0); rounds++) {
        const waiting = workers.reduce((sum, worker) => sum + worker.waiting.length, 0);
        assert.ok(rounds < 500, `seed ${seed}: ${waiting} wait for ever`);
        for (const worker of workers) while (worker.used > 0) worker.leave();
        settle();
      }
    }
  });
});
