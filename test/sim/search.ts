/**
 * Plays many histories in as many processes as asked, each with its share of the seeds, and sums up what they
 * found.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { play } from './history.ts';
import { NO_MUTATIONS, type Mutations } from './mutations.ts';
import { scenarioOf } from './scenario.ts';
import type { Outcome } from './workers.ts';

/** Which seeds to play: `count` from `first` on, each `step` apart. */
export interface Share {
  readonly first: number;
  readonly count: number;
  readonly step: number;
  readonly mutations: Mutations;
  /** Ends when this rule has been broken; null: at the last. */
  readonly stopsAtRule: number | null;
}

/** A kind of failure, and which seeds show it. */
export interface Failures {
  readonly kind: string;
  readonly seeds: number[];
}

export interface Findings {
  histories: number;
  failed: number;
  events: number;
  promotions: number;
  virtualMs: number;
  outcomes: Record<Outcome, number>;
  failures: Failures[];
  /** Histories that ended well, but for something that is left to an operator who was told. */
  leftToOperator: Failures[];
}

/** Plays a share of the seeds in this process; must be called from the event loop. */
export function playShare(share: Share): Findings {
  const findings = nothing();
  const failures = new Map<string, number[]>();
  const left = new Map<string, number[]>();
  for (let index = 0; index < share.count; index++) {
    const seed = share.first + index * share.step;
    const result = play(scenarioOf(seed), share.mutations);
    findings.histories++;
    findings.events += result.events;
    findings.virtualMs += result.endMs;
    findings.promotions += Math.max(0, result.epochs - 1);
    for (const outcome of OUTCOMES) findings.outcomes[outcome] += result.outcomes[outcome];
    if (result.operator !== '') add(left, kindOf(result.operator), seed);
    if (result.violation === null) continue;
    findings.failed++;
    add(failures, `rule ${result.violation.rule}: ${kindOf(result.violation.detail)}`, seed);
    if (result.violation.rule === share.stopsAtRule) break;
  }
  findings.failures = listed(failures);
  findings.leftToOperator = listed(left);
  return findings;
}

/** Plays `count` histories from `first` on in `processes` processes. */
export async function search(
  first: number,
  count: number,
  processes: number,
  { mutations = NO_MUTATIONS, stopsAtRule = null }: Partial<Pick<Share, 'mutations' | 'stopsAtRule'>> = {},
): Promise<Findings> {
  const shares = Array.from({ length: processes }, (_, index) => ({
    first: first + index,
    step: processes,
    count: Math.ceil((count - index) / processes),
    mutations,
    stopsAtRule,
  }));
  return sum(await Promise.all(shares.map(playElsewhere)));
}

const OUTCOMES = ['acknowledged', 'refused', 'unknown'] as const;
const WORKER = fileURLToPath(new URL('share.ts', import.meta.url));

async function playElsewhere(share: Share): Promise<Findings> {
  const child = fork(WORKER, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  child.send(share);
  const answered = once(child, 'message') as Promise<[Findings]>;
  const died = once(child, 'exit').then(([code]) => {
    throw new Error(`a process of the simulation ended with code ${code}`);
  });
  const [findings] = await Promise.race([answered, died]);
  died.catch(() => undefined);
  child.disconnect();
  return findings;
}

function nothing(): Findings {
  return {
    histories: 0,
    failed: 0,
    events: 0,
    promotions: 0,
    virtualMs: 0,
    outcomes: { acknowledged: 0, refused: 0, unknown: 0 },
    failures: [],
    leftToOperator: [],
  };
}

function sum(all: readonly Findings[]): Findings {
  const total = nothing();
  const failures = new Map<string, number[]>();
  const left = new Map<string, number[]>();
  for (const one of all) {
    total.histories += one.histories;
    total.failed += one.failed;
    total.events += one.events;
    total.promotions += one.promotions;
    total.virtualMs += one.virtualMs;
    for (const outcome of OUTCOMES) total.outcomes[outcome] += one.outcomes[outcome];
    for (const { kind, seeds } of one.failures) add(failures, kind, ...seeds);
    for (const { kind, seeds } of one.leftToOperator) add(left, kind, ...seeds);
  }
  return { ...total, failures: listed(failures), leftToOperator: listed(left) };
}

/** Without the numbers that differ from seed to seed. */
function kindOf(detail: string): string {
  return detail.replaceAll(/\d+(\.\d+)?/g, 'N').slice(0, 300);
}

function add(kinds: Map<string, number[]>, kind: string, ...seeds: number[]): void {
  const known = kinds.get(kind);
  if (known === undefined) kinds.set(kind, seeds);
  else known.push(...seeds);
}

function listed(kinds: ReadonlyMap<string, number[]>): Failures[] {
  return [...kinds]
    .map(([kind, seeds]) => ({ kind, seeds: seeds.sort((one, other) => one - other) }))
    .sort((one, other) => other.seeds.length - one.seeds.length);
}
