/**
 * What the bench has measured, and how it is told: pure. A round measures all three ways to the server one
 * right after the other, so what the machine does meanwhile hits them alike; a ratio is therefore taken
 * within a round, and the median of the rounds is what is reported.
 */

import { failoverCases, type FailoverCase, type FailoverSample } from './failover.ts';
import { LAG_GOAL, LAG_READERS, lagCases, type LagSample } from './lag.ts';

/** The ways to the server that are compared, in the order in which a round measures them. */
export const TARGETS = ['direct', 'haproxy', 'dbproxy'] as const;
export type Target = (typeof TARGETS)[number];

/** One run of a load through one target. */
export interface Sample {
  queriesPerSecond: number;
  /** 99th percentile of an event as sysbench sees it: a query, a transaction, a whole short connection. */
  p99Ms: number;
  /** User and system time of all processes of the proxy; null where there is no proxy. */
  cpuMicrosPerQuery: number | null;
  /** Errors that sysbench went on after: deadlocks in the read-write load. */
  errors: number;
}

export type LoadRound = Record<Target, Sample>;

/** One load with all its rounds. */
export interface LoadResult {
  name: string;
  title: string;
  rounds: LoadRound[];
}

/** One large result read through each target. */
export type StreamRound = Record<Target, { megabytesPerSecond: number }>;

export interface StreamResult {
  megabytes: number;
  rounds: StreamRound[];
  /** Growth in memory of that process of dbproxy that grew most. */
  growthMegabytes: { fastReader: number; pausingReader: number };
}

/** What one hot piece of code costs. */
export interface MicroResult {
  name: string;
  nanoseconds: number;
}

/** Where and how it was measured. */
export interface Conditions {
  /** ISO date and time. */
  date: string;
  machine: string;
  versions: string;
  mode: 'full' | 'quick';
}

export interface Report {
  conditions: Conditions;
  loads: LoadResult[];
  stream: StreamResult | null;
  micro: MicroResult[];
  failover: FailoverSample[];
  lag: LagSample[];
  /** Loads that could not be measured, and why. */
  failures: string[];
}

/** A ratio within each round. The spread says how much the median is to be believed. */
export interface Ratio {
  median: number;
  least: number;
  most: number;
}

/** One target of a load, over all rounds. */
export interface Summary {
  queriesPerSecond: number;
  p99Ms: number;
  cpuMicrosPerQuery: number | null;
  /** To HAProxy's; null for CPU where one of the two has none. */
  rateRatio: Ratio;
  cpuRatio: Ratio | null;
  errors: number;
}

/** A goal of the project, and what was measured. */
export interface Verdict {
  goal: string;
  measured: string;
  reached: boolean;
}

const MIN_RATE_RATIO = 0.9;
const MAX_CPU_RATIO = 1.3;
const MAX_GROWTH_MEGABYTES = 64;

/** The loads that have a goal. */
const LOAD_GOALS: readonly { load: string; minRateRatio?: number; maxCpuRatio?: number }[] = [
  { load: 'point-select-write-1', minRateRatio: MIN_RATE_RATIO },
  { load: 'point-select-write-32', minRateRatio: MIN_RATE_RATIO, maxCpuRatio: MAX_CPU_RATIO },
  { load: 'tls-point-select-32', minRateRatio: MIN_RATE_RATIO },
  { load: 'point-select-split-32', minRateRatio: 1 },
  { load: 'point-select-split-128', minRateRatio: 1 },
  { load: 'read-write-split-16', minRateRatio: 0.95 },
  { load: 'short-connections-split-8', minRateRatio: 1.5 },
];

/** The middle value; of an even number of values the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('no median of nothing');
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** A load's numbers for one target: medians over its rounds, ratios taken within each round. */
export function summarise(load: LoadResult, target: Target): Summary {
  const samples = load.rounds.map((round) => round[target]);
  const cpuRatios = load.rounds.flatMap((round) => {
    const own = round[target].cpuMicrosPerQuery;
    const theirs = round.haproxy.cpuMicrosPerQuery;
    return own === null || theirs === null || theirs === 0 ? [] : [own / theirs];
  });
  const cpu = samples.flatMap(({ cpuMicrosPerQuery }) => cpuMicrosPerQuery ?? []);
  return {
    queriesPerSecond: median(samples.map(({ queriesPerSecond }) => queriesPerSecond)),
    p99Ms: median(samples.map(({ p99Ms }) => p99Ms)),
    cpuMicrosPerQuery: cpu.length === 0 ? null : median(cpu),
    rateRatio: ratioOf(
      load.rounds.map((round) => round[target].queriesPerSecond / round.haproxy.queriesPerSecond),
    ),
    cpuRatio: cpuRatios.length === 0 ? null : ratioOf(cpuRatios),
    errors: samples.reduce((sum, { errors }) => sum + errors, 0),
  };
}

function ratioOf(values: readonly number[]): Ratio {
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) };
}

/** The goals that this report can speak about. A median decides; the spread is shown beside it. */
export function verdicts(report: Report): Verdict[] {
  const found: Verdict[] = [];
  for (const { load: name, minRateRatio, maxCpuRatio } of LOAD_GOALS) {
    const load = report.loads.find((candidate) => candidate.name === name);
    if (load === undefined) continue;
    const { rateRatio, cpuRatio } = summarise(load, 'dbproxy');
    if (minRateRatio !== undefined)
      found.push({
        goal: `${load.title}: rate at least ${String(minRateRatio)} of HAProxy's`,
        measured: formatRatio(rateRatio),
        reached: rateRatio.median >= minRateRatio,
      });
    if (maxCpuRatio !== undefined && cpuRatio !== null)
      found.push({
        goal: `${load.title}: CPU a query at most ${maxCpuRatio.toFixed(1)} of HAProxy's`,
        measured: formatRatio(cpuRatio),
        reached: cpuRatio.median <= maxCpuRatio,
      });
  }
  if (report.stream !== null) {
    const { fastReader, pausingReader } = report.stream.growthMegabytes;
    const growth = Math.max(fastReader, pausingReader);
    found.push({
      goal: `result of ${report.stream.megabytes} MB: memory grows by less than ${MAX_GROWTH_MEGABYTES} MB`,
      measured: `${growth.toFixed(1)} MB`,
      reached: growth < MAX_GROWTH_MEGABYTES,
    });
  }
  for (const { title, goalMs, gaps } of failoverResults(report.failover)) {
    found.push({
      goal: `${title}: writes wait less than ${goalMs} ms`,
      measured: `${gaps.median.toFixed(0)} ms`,
      reached: gaps.median < goalMs,
    });
  }
  for (const { title, most } of lagResults(report.lag)) {
    found.push({
      goal: `${title}: the last read at most ${LAG_GOAL} check intervals after max_lag`,
      measured: most.toFixed(2),
      reached: most <= LAG_GOAL,
    });
  }
  return found;
}

/** The cases of lag that were asked, a row a reader; `most` is what counts. */
function lagResults(samples: readonly LagSample[]): (Ratio & { title: string; rounds: number })[] {
  return lagCases.flatMap(({ name, title }) => {
    const own = samples.filter((sample) => sample.name === name);
    if (own.length === 0) return [];
    return LAG_READERS.map((reader) => ({
      title: `${title}; ${reader}`,
      rounds: own.length,
      ...ratioOf(own.map(({ lateness }) => lateness[reader])),
    }));
  });
}

/** The cases that were asked, with how long writes waited and what failed. */
function failoverResults(
  samples: readonly FailoverSample[],
): (FailoverCase & { gaps: Ratio; failed: Ratio; rounds: number })[] {
  return failoverCases.flatMap((one) => {
    const own = samples.filter(({ name }) => name === one.name);
    if (own.length === 0) return [];
    const gaps = ratioOf(own.map(({ gapMs }) => gapMs));
    return [{ ...one, gaps, failed: ratioOf(own.map(({ failed }) => failed)), rounds: own.length }];
  });
}

/** The whole report as people read it. */
export function formatReport(report: Report): string {
  const { date, machine, versions, mode } = report.conditions;
  const parts = [[`dbproxy bench, ${mode}, ${date}`, machine, versions].join('\n')];
  if (report.loads.length > 0) parts.push(formatLoads(report.loads));
  if (report.stream !== null) parts.push(formatStream(report.stream));
  if (report.micro.length > 0) parts.push(formatMicro(report.micro));
  if (report.failover.length > 0) parts.push(formatFailover(report.failover));
  if (report.lag.length > 0) parts.push(formatLag(report.lag));
  if (report.failures.length > 0) parts.push(['FAILED', ...report.failures].join('\n'));
  const goals = verdicts(report);
  if (goals.length > 0) parts.push(formatVerdicts(goals));
  return `${parts.join('\n\n')}\n`;
}

/** The report with its summaries beside the raw rounds, for programs. */
export function reportAsJson(report: Report): string {
  const loads = report.loads.map((load) => ({
    ...load,
    summary: Object.fromEntries(TARGETS.map((target) => [target, summarise(load, target)])),
  }));
  return `${JSON.stringify({ ...report, loads, goals: verdicts(report) }, null, 2)}\n`;
}

function formatLoads(loads: readonly LoadResult[]): string {
  const header = ['load', 'through', 'queries/s', 'p99 ms', 'CPU µs/query', 'rate/HAProxy', 'CPU/HAProxy'];
  const rows = loads.flatMap((load) =>
    TARGETS.map((target, index) => {
      const summary = summarise(load, target);
      return [
        index === 0 ? load.title : '',
        target,
        summary.queriesPerSecond.toFixed(0),
        summary.p99Ms.toFixed(2),
        optional(summary.cpuMicrosPerQuery, 1),
        formatRatio(summary.rateRatio),
        summary.cpuRatio === null ? '-' : formatRatio(summary.cpuRatio),
      ];
    }),
  );
  const rounds = loads.map((load) => load.rounds.length);
  const few = Math.min(...rounds);
  const many = Math.max(...rounds);
  const note = `medians of ${few === many ? many : `${few} to ${many}`} rounds; in brackets the least and the most`;
  const errors = loads.flatMap((load) =>
    TARGETS.flatMap((target) => {
      const count = summarise(load, target).errors;
      return count === 0 ? [] : [`${load.title}, ${target}: ${count} errors that sysbench went on after`];
    }),
  );
  return [formatTable([header, ...rows], 2), note, ...errors].join('\n');
}

function formatStream(stream: StreamResult): string {
  const header = [`result of ${stream.megabytes} MB`, 'MB/s', 'rate/HAProxy', 'memory growth MB'];
  const rows = TARGETS.map((target) => {
    const rates = stream.rounds.map((round) => round[target].megabytesPerSecond);
    const ratio = ratioOf(
      stream.rounds.map((round) => round[target].megabytesPerSecond / round.haproxy.megabytesPerSecond),
    );
    const growth = target === 'dbproxy' ? stream.growthMegabytes.fastReader.toFixed(1) : '-';
    return [target, median(rates).toFixed(0), formatRatio(ratio), growth];
  });
  const paused = stream.growthMegabytes.pausingReader.toFixed(1);
  rows.push(['dbproxy, reader that pauses', '-', '-', paused]);
  return formatTable([header, ...rows], 1);
}

function formatMicro(results: readonly MicroResult[]): string {
  const rows = results.map(({ name, nanoseconds }) => [name, nanoseconds.toFixed(0)]);
  return formatTable([['hot piece', 'ns'], ...rows], 1);
}

function formatFailover(samples: readonly FailoverSample[]): string {
  const whole = ({ median: middle, least, most }: Ratio): string =>
    `${middle.toFixed(0)} (${least.toFixed(0)} to ${most.toFixed(0)})`;
  const rows = failoverResults(samples).map(({ title, gaps, failed, rounds }) => [
    title,
    String(rounds),
    whole(gaps),
    whole(failed),
  ]);
  return formatTable(
    [[`failover, ${samples[0]!.flavour}`, 'rounds', 'writes wait ms', 'failed'], ...rows],
    1,
  );
}

function formatLag(samples: readonly LagSample[]): string {
  const rows = lagResults(samples).map(({ title, rounds, ...ratio }) => [
    title,
    String(rounds),
    formatRatio(ratio),
  ]);
  const header = [`lag, ${samples[0]!.flavour}`, 'rounds', 'last read, check intervals after max_lag'];
  return formatTable([header, ...rows], 1);
}

function formatVerdicts(found: readonly Verdict[]): string {
  const rows = found.map(({ goal, measured, reached }) => [goal, reached ? 'reached' : 'MISSED', measured]);
  return formatTable([['goal', '', 'measured'], ...rows], 2);
}

/** Columns side by side, the first `leftColumns` aligned to the left and the others to the right. */
function formatTable(rows: readonly (readonly string[])[], leftColumns: number): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column < leftColumns ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** One round has no spread; HAProxy's ratio to itself neither. */
function formatRatio({ median: middle, least, most }: Ratio): string {
  const spread = least === most ? '' : ` (${least.toFixed(2)} to ${most.toFixed(2)})`;
  return `${middle.toFixed(2)}${spread}`;
}

function optional(value: number | null, digits: number): string {
  return value === null ? '-' : value.toFixed(digits);
}
