/**
 * The parts of the simulated world do what the real ones do: a line keeps its order, a process that stands still
 * misses nothing, a crash loses what was not flushed.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { JournalEntry } from '../../src/failover/journal.ts';
import { SimDisk } from './disk.ts';
import { Network } from './network.ts';
import { ProcessClock, SimProcess } from './process.ts';
import { Random } from './random.ts';
import { Scheduler } from './scheduler.ts';

/** Lets everything happen until then, from the event loop. */
function passUntil(scheduler: Scheduler, untilMs: number): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(() => {
      const never = (): boolean => false;
      scheduler.run(untilMs, never, () => undefined);
      resolve();
    });
  });
}

describe('virtual time', () => {
  test('what is set for the same time happens in the order in which it was set', async () => {
    const scheduler = new Scheduler();
    const seen: string[] = [];
    scheduler.at(20, () => seen.push('third'));
    scheduler.at(10, () => seen.push('first'));
    scheduler.at(10, () => seen.push('second'));
    scheduler.at(15, () => seen.push('never')).cancelled = true;
    await passUntil(scheduler, 100);
    assert.deepEqual(seen, ['first', 'second', 'third']);
  });

  test('promises settle before the next event', async () => {
    const scheduler = new Scheduler();
    const seen: string[] = [];
    const steps = async (): Promise<void> => {
      for (const step of ['one', 'two', 'three']) {
        await Promise.resolve();
        seen.push(step);
      }
    };
    scheduler.at(1, () => void steps());
    scheduler.at(1, () => seen.push('next event'));
    await passUntil(scheduler, 2);
    assert.deepEqual(seen, ['one', 'two', 'three', 'next event']);
  });
});

describe('the network', () => {
  test('keeps the order of what it carries, also over a cut', async () => {
    for (let seed = 0; seed < 50; seed++) {
      const scheduler = new Scheduler();
      const network = new Network(scheduler, new Random(seed));
      const seen: number[] = [];
      for (let number = 0; number < 20; number++) {
        scheduler.at(number, () => network.send('a', 'b', () => seen.push(number)));
      }
      scheduler.at(5.5, () => network.cut('a', 'b'));
      scheduler.at(15.5, () => network.heal('a', 'b'));
      await passUntil(scheduler, 10_000);
      assert.deepEqual(
        seen,
        Array.from({ length: 20 }, (_, number) => number),
      );
    }
  });

  test('a cut in one direction lets the other through', async () => {
    const scheduler = new Scheduler();
    const network = new Network(scheduler, new Random(1));
    const seen: string[] = [];
    network.cut('a', 'b');
    network.send('a', 'b', () => seen.push('there'));
    network.send('b', 'a', () => seen.push('back'));
    await passUntil(scheduler, 10_000);
    assert.deepEqual(seen, ['back']);
  });
});

describe('a process', () => {
  test('that stands still has all its timers fire when it goes on, and none when it is killed', async () => {
    for (const isKilled of [false, true]) {
      const scheduler = new Scheduler();
      const process = new SimProcess(scheduler);
      const clock = new ProcessClock(scheduler, process, new Random(1), { offsetMs: 0 });
      const seen: number[] = [];
      clock.after(10, () => seen.push(clock.nowMs()));
      clock.after(20, () => seen.push(clock.nowMs()));
      scheduler.at(5, () => process.pause());
      scheduler.at(50, () => (isKilled ? process.kill() : process.goOn()));
      await passUntil(scheduler, 100);
      assert.deepEqual(seen, isKilled ? [] : [50, 50]);
    }
  });
});

describe('the disk', () => {
  const entry = (run: number): JournalEntry => ({
    run,
    cluster: 'main',
    wallMs: 0,
    event: 'failed',
    step: 'hold',
    detail: '',
  });

  test('a crash of the machine may lose what was not flushed, and nothing before that', async () => {
    const left = new Set<number>();
    for (let seed = 0; seed < 40; seed++) {
      const scheduler = new Scheduler();
      const disk = new SimDisk(scheduler, new Random(seed), () => undefined);
      const journal = disk.openJournal(new SimProcess(scheduler));
      void journal.append(entry(1), true);
      void journal.append(entry(2), false);
      void journal.append(entry(3), false);
      await passUntil(scheduler, 1_000);
      assert.equal(disk.entries.length, 3);
      disk.crash();
      left.add(disk.entries.length);
    }
    assert.deepEqual([...left].sort(), [1, 2, 3]);
  });

  test('a full disk refuses, and the journal does not have what it refused', async () => {
    const scheduler = new Scheduler();
    const disk = new SimDisk(scheduler, new Random(1), () => undefined);
    const journal = disk.openJournal(new SimProcess(scheduler));
    disk.isFull = true;
    const refused = assert.rejects(journal.append(entry(1), true), /no space left/);
    await passUntil(scheduler, 1_000);
    await refused;
    assert.deepEqual([disk.entries, journal.entries()], [[], []]);
  });
});
