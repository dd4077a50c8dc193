/**
 * Question: how long do writes wait when the primary dies, hangs, is cut off or is moved, and how many statements
 * fail? And how long when a whole host of a pair dies, or the VIP is moved? Asked with dbproxy's default checks unless a case
 * says otherwise, `semi_sync = require` and an arbiter, of two servers on hosts of their own.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ChaosFlavour } from '../test/chaos/options.ts';

/** What happens to a server behind one dbproxy, and to a pair of hosts. */
type ServerFault = 'kill' | 'freeze' | 'cut' | 'switchover';
type PairFault = 'host' | 'vip' | 'standby';

export interface FailoverCase<Fault = ServerFault | PairFault> {
  readonly name: string;
  readonly title: string;
  readonly fault: Fault;
  readonly clients: number;
  readonly checkFastInterval: string;
  /** What the project wants the median to stay below. */
  readonly goalMs: number;
}

const DEFAULT_FAST = '250ms';

/** Those of `failover-run.ts`, in the order in which a round asks them. */
export const serverCases: readonly FailoverCase<ServerFault>[] = [
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

/** Those of `pair-run.ts`: advert_int = 250ms and peer_timeout = 2s. */
export const pairCases: readonly FailoverCase<PairFault>[] = [
  of('failover-host-4', 'the host with VIP, dbproxy and primary dies, 4 clients', 'host', 4, 4_000),
  of('failover-vip-4', 'the VIP is sent to the other host, 4 clients', 'vip', 4, 1_000),
  of(
    'failover-standby-1',
    'from the VIP on the standby to the first write of a new client',
    'standby',
    1,
    100,
  ),
];

/** All of them. */
export const failoverCases: readonly FailoverCase[] = [...serverCases, ...pairCases];

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
  const samples: FailoverSample[] = [];
  for (const [program, own] of [
    ['failover-run.ts', serverCases],
    ['pair-run.ts', pairCases],
  ] as const) {
    const asked = cases.filter(({ name }) => own.some((one) => one.name === name));
    if (asked.length > 0) samples.push(...(await runProgram(program, asked, flavour, rounds, signal, say)));
  }
  return samples;
}

async function runProgram(
  file: string,
  cases: readonly FailoverCase[],
  flavour: ChaosFlavour,
  rounds: number,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<FailoverSample[]> {
  const program = join(import.meta.dirname, file);
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

function of<Fault>(
  name: string,
  title: string,
  fault: Fault,
  clients: number,
  goalMs: number,
): FailoverCase<Fault> {
  return { name, title, fault, clients, checkFastInterval: DEFAULT_FAST, goalMs };
}
