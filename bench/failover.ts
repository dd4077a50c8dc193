/**
 * Question: how long do writes wait when the primary dies, hangs, is cut off or is moved, and how many statements
 * fail? Asked with dbproxy's default checks unless a case says otherwise, `semi_sync = require` and an arbiter, of two
 * servers on hosts of their own.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ChaosFlavour } from '../test/chaos/options.ts';

export interface FailoverCase {
  readonly name: string;
  readonly title: string;
  readonly fault: 'kill' | 'freeze' | 'cut' | 'switchover';
  readonly clients: number;
  readonly checkFastInterval: string;
  /** What the project wants the median to stay below. */
  readonly goalMs: number;
}

const DEFAULT_FAST = '250ms';

/** All of them, in the order in which a round asks them. */
export const failoverCases: readonly FailoverCase[] = [
  of('failover-kill-1', 'kill -9 of the primary, 1 client', 'kill', 1, 800),
  of('failover-kill-16', 'kill -9 of the primary, 16 clients', 'kill', 16, 1_200),
  of('failover-freeze-16', 'SIGSTOP of the primary, 16 clients', 'freeze', 16, 3_000),
  of('failover-cut-16', "the primary's host is cut off, 16 clients", 'cut', 16, 3_000),
  of('failover-switchover-16', 'switchover, 16 clients', 'switchover', 16, 300),
  {
    ...of('failover-kill-1-fast', 'kill -9, 1 client, check_fast_interval = 50ms', 'kill', 1, 300),
    checkFastInterval: '50ms',
  },
];

/** One round of one case. */
export interface FailoverSample {
  readonly name: string;
  readonly flavour: ChaosFlavour;
  /** The longest time without an acknowledged write. */
  readonly gapMs: number;
  /** Pieces of work (a statement, or a transaction) that were not acknowledged. */
  readonly failed: number;
  /** Why the servers were not well afterwards; null: they were. */
  readonly problem: string | null;
}

/** Asks each of these cases so many times; says what it does by `say`. */
export async function askFailover(
  cases: readonly FailoverCase[],
  flavour: ChaosFlavour,
  rounds: number,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<FailoverSample[]> {
  const program = join(import.meta.dirname, 'failover-run.ts');
  const command = [
    '--pdeathsig',
    'TERM',
    '--',
    process.execPath,
    program,
    flavour,
    String(rounds),
    ...cases.map(({ name }) => name),
  ];
  const child = spawn('setpriv', command, {
    stdio: ['ignore', 'pipe', 'inherit'],
    signal,
    killSignal: 'SIGTERM',
  });
  const samples: FailoverSample[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    const sample = JSON.parse(line) as FailoverSample;
    samples.push(sample);
    say(`${sample.name}: ${Math.round(sample.gapMs)} ms, ${sample.failed} failed`);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  signal.throwIfAborted();
  if (code !== 0) throw new Error(`failover: ${samples.at(-1)?.problem ?? `it ended with ${code}`}`);
  return samples;
}

function of(
  name: string,
  title: string,
  fault: FailoverCase['fault'],
  clients: number,
  goalMs: number,
): FailoverCase {
  return { name, title, fault, clients, checkFastInterval: DEFAULT_FAST, goalMs };
}
