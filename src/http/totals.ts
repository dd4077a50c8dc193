/**
 * Counters that only grow, although workers come and go. A worker counts from zero, so what a process had
 * counted when it was last seen is kept when another takes its slot; and one that did not answer this time
 * counts with what it said last. What a worker counted between its last answer and its death is lost.
 */
import type { HoldStats, QueryStats, WorkerStats } from '../ipc/messages.ts';
import type { CausalStats, RetryStats, RuleStats } from '../ipc/split.ts';

/** All that workers only ever count up. */
export interface Totals {
  queries: QueryStats[];
  errors: { code: number; count: number }[];
  bytes: { fromClients: number; toClients: number };
  poolWaits: number;
  holds: HoldStats[];
  loginsRefused: { reason: string; count: number }[];
  causal: CausalStats[];
  retries: RetryStats[];
  pipelined: number;
  restores: number;
  rules: RuleStats[];
}

export class WorkerTotals {
  readonly #lastSeen = new Map<number, WorkerStats>();
  #retired: Totals = noTotals();

  /** Takes the workers' latest answers and gives the totals since the supervisor's start. */
  update(stats: readonly WorkerStats[]): Totals {
    for (const worker of stats) {
      const before = this.#lastSeen.get(worker.slot);
      if (before !== undefined && before.pid !== worker.pid)
        this.#retired = addTotals([this.#retired, before]);
      this.#lastSeen.set(worker.slot, worker);
    }
    return addTotals([this.#retired, ...this.#lastSeen.values()]);
  }
}

function noTotals(): Totals {
  return {
    queries: [],
    errors: [],
    bytes: { fromClients: 0, toClients: 0 },
    poolWaits: 0,
    holds: [],
    loginsRefused: [],
    causal: [],
    retries: [],
    pipelined: 0,
    restores: 0,
    rules: [],
  };
}

/** The sums of totals, entries with the same labels joined. */
function addTotals(parts: readonly Totals[]): Totals {
  const sum = noTotals();
  const queries = new Map<string, QueryStats>();
  const errors = new Map<number, number>();
  const refusals = new Map<string, number>();
  for (const part of parts) {
    sum.bytes.fromClients += part.bytes.fromClients;
    sum.bytes.toClients += part.bytes.toClients;
    sum.poolWaits += part.poolWaits;
    sum.pipelined += part.pipelined;
    sum.restores += part.restores;
    for (const { code, count } of part.errors) errors.set(code, (errors.get(code) ?? 0) + count);
    for (const { reason, count } of part.loginsRefused)
      refusals.set(reason, (refusals.get(reason) ?? 0) + count);
    for (const entry of part.queries) addQueries(queries, entry);
  }
  sum.errors = [...errors].map(([code, count]) => ({ code, count }));
  sum.loginsRefused = [...refusals].map(([reason, count]) => ({ reason, count }));
  sum.queries = [...queries.values()];
  sum.holds = parts.flatMap(({ holds }) => holds).reduce(addHolds, []);
  sum.causal = parts.flatMap(({ causal }) => causal).reduce(addCausal, []);
  sum.retries = parts.flatMap(({ retries }) => retries).reduce(addRetries, []);
  sum.rules = parts.flatMap(({ rules }) => rules).reduce(addRules, []);
  return sum;
}

function addCausal(sums: CausalStats[], entry: CausalStats): CausalStats[] {
  const known = sums.find(({ listener }) => listener === entry.listener);
  if (known === undefined) return [...sums, entry];
  const atOnce = known.atOnce + entry.atOnce;
  const waited = known.waited + entry.waited;
  const fellBack = known.fellBack + entry.fellBack;
  return sums.with(sums.indexOf(known), { ...known, atOnce, waited, fellBack });
}

function addRetries(sums: RetryStats[], entry: RetryStats): RetryStats[] {
  const known = sums.find(({ listener, reason }) => listener === entry.listener && reason === entry.reason);
  if (known === undefined) return [...sums, entry];
  return sums.with(sums.indexOf(known), { ...known, count: known.count + entry.count });
}

function addRules(sums: RuleStats[], entry: RuleStats): RuleStats[] {
  const known = sums.find(({ name }) => name === entry.name);
  if (known === undefined) return [...sums, entry];
  return sums.with(sums.indexOf(known), { ...known, hits: known.hits + entry.hits });
}

function addHolds(sums: HoldStats[], entry: HoldStats): HoldStats[] {
  const known = sums.find(({ cluster }) => cluster === entry.cluster);
  if (known === undefined) return [...sums, entry];
  const durationBuckets = known.durationBuckets.map(
    (count, bucket) => count + entry.durationBuckets[bucket]!,
  );
  return sums.with(sums.indexOf(known), {
    ...known,
    held: known.held + entry.held,
    count: known.count + entry.count,
    durationBuckets,
    durationSumSeconds: known.durationSumSeconds + entry.durationSumSeconds,
  });
}

function addQueries(sums: Map<string, QueryStats>, entry: QueryStats): void {
  const key = JSON.stringify([entry.listener, entry.backend, entry.class]);
  const known = sums.get(key);
  if (known === undefined) {
    sums.set(key, { ...entry, durationBuckets: [...entry.durationBuckets] });
    return;
  }
  known.count += entry.count;
  known.durationSumSeconds += entry.durationSumSeconds;
  entry.durationBuckets.forEach((count, bucket) => {
    known.durationBuckets[bucket] = (known.durationBuckets[bucket] ?? 0) + count;
  });
}
