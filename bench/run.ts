/**
 * The bench: direct, HAProxy and dbproxy side by side, in one run on one machine. It sets the stage, asks
 * its questions round by round (each round asks every question of all three targets, one right after the
 * other), prints the table and writes it to a file. What it says on the way goes to standard error.
 *
 *   npm run bench -- [--quick] [--json [FILE]] [--only NAME] [--flavour F]
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { dirname, join } from 'node:path';
import { systemClock } from '../src/base/clock.ts';
import { askFailover, failoverCases, type FailoverCase } from './failover.ts';
import { askLag, lagCases, type LagCase } from './lag.ts';
import type { Load } from './load.ts';
import { askMicro } from './micro.ts';
import { parseBenchArguments, USAGE, type BenchOptions } from './options.ts';
import { pointSelects } from './point-select.ts';
import { cpuMicros } from './processes.ts';
import { readWrites } from './read-write.ts';
import {
  formatReport,
  reportAsJson,
  TARGETS,
  type Conditions,
  type LoadRound,
  type Report,
  type Sample,
  type Target,
} from './report.ts';
import { shortConnections } from './short-connections.ts';
import { openStage, PARALLELISM, type Stage } from './stage.ts';
import { askStream } from './stream.ts';
import { parseSysbench, runSysbench, type SysbenchOutcome } from './sysbench.ts';
import { runTlsLoad, tlsPointSelects } from './tls-load.ts';

const LOADS: readonly Load[] = [...pointSelects, ...tlsPointSelects, ...readWrites, ...shortConnections];
const STREAM = 'stream';
const MICRO = 'micro';

const RESULT_PATH = join(import.meta.dirname, 'results/latest.txt');

/** How much is asked. `deadlineMs`: since the start; later than that no further round of a load begins. */
const EFFORT = {
  full: { rounds: 5, streamRounds: 3, failoverRounds: 20, lagRounds: 10, seconds: 3, deadlineMs: Infinity },
  quick: { rounds: 3, streamRounds: 1, failoverRounds: 3, lagRounds: 3, seconds: 1, deadlineMs: 48_000 },
} as const;

/** Compiles the hot paths and fills the pools before anything counts. */
const WARM_UP = { clients: 8, seconds: 1 };

/** A load with what it has brought so far. One that has failed is not asked again. */
interface Asked {
  readonly load: Load;
  readonly rounds: LoadRound[];
  failure: string | null;
}

interface Questions {
  loads: readonly Load[];
  stream: boolean;
  micro: boolean;
  /** They take minutes and need root, so only when they are asked for by name. */
  failover: readonly FailoverCase[];
  /** They take minutes, so likewise. */
  lag: readonly LagCase[];
  flavour: BenchOptions['flavour'];
}

/** What is handed down to everything that measures. */
interface Run {
  mode: Conditions['mode'];
  startedMs: number;
  signal: AbortSignal;
}

await main();

async function main(): Promise<void> {
  const options = parseBenchArguments(process.argv.slice(2));
  if (typeof options === 'string') return fail(64, `${options}\n${USAGE}`);
  const questions = chooseQuestions(options);
  if (questions === null) return fail(64, `no question begins with ${options.only}; there are ${allNames()}`);

  const interruption = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => interruption.abort());
  const mode = options.quick ? 'quick' : 'full';
  try {
    const run = { mode, startedMs: systemClock.nowMs(), signal: interruption.signal } as const;
    publish(await answer(questions, run), options);
  } catch (error) {
    if (interruption.signal.aborted) fail(130, 'interrupted; everything is stopped');
    else fail(1, messageOf(error));
  }
}

/** Those that `--only` and `--quick` leave; null when that is none. */
function chooseQuestions({ only, quick, flavour }: BenchOptions): Questions | null {
  const wanted = (name: string): boolean => only === null || name.startsWith(only);
  const loads = LOADS.filter((load) => wanted(load.name) && (load.quick || !quick || only !== null));
  const failover = only === null ? [] : failoverCases.filter(({ name }) => wanted(name));
  const lag = only === null ? [] : lagCases.filter(({ name }) => wanted(name));
  const questions = { loads, stream: wanted(STREAM), micro: wanted(MICRO), failover, lag, flavour };
  const isAny = loads.length + failover.length + lag.length > 0 || questions.stream || questions.micro;
  return isAny ? questions : null;
}

function allNames(): string {
  const byName = [...failoverCases, ...lagCases];
  return [...LOADS.map(({ name }) => name), STREAM, MICRO, ...byName.map(({ name }) => name)].join(', ');
}

/** The pieces of code first: they want the machine for themselves. */
async function answer(questions: Questions, run: Run): Promise<Report> {
  const micro = questions.micro ? askMicro() : [];
  const { failoverRounds, lagRounds } = EFFORT[run.mode];
  const failover =
    questions.failover.length > 0
      ? await askFailover(questions.failover, questions.flavour, failoverRounds, run.signal, say)
      : [];
  const lag = await askLag(questions.lag, questions.flavour, lagRounds, run.signal, say);
  const report: Report = {
    conditions: conditions(run.mode),
    loads: [],
    stream: null,
    micro,
    failover,
    lag,
    failures: [],
  };
  if (questions.loads.length === 0 && !questions.stream) return report;

  say('starting two MariaDB servers, HAProxy and dbproxy');
  const stage = await openStage(run.signal);
  try {
    const { rounds, streamRounds } = EFFORT[run.mode];
    if (questions.loads.length > 0) await warmUp(stage, run);
    const results = questions.loads.map((load): Asked => ({ load, rounds: [], failure: null }));
    await askRound(1, results, stage, run);
    if (questions.stream) report.stream = await askStream(stage, streamRounds, run.signal, say);
    for (let round = 2; round <= rounds; round++) await askRound(round, results, stage, run);
    report.loads = results
      .filter((result) => result.rounds.length > 0)
      .map(({ load, rounds: measured }) => ({ name: load.name, title: load.title, rounds: measured }));
    report.failures = results.flatMap(({ failure }) => failure ?? []);
    return report;
  } finally {
    await stage.stop();
  }
}

async function warmUp(stage: Stage, run: Run): Promise<void> {
  for (const target of TARGETS) {
    for (const load of [pointSelects[0]!, shortConnections[0]!]) {
      await measure({ ...load, clients: WARM_UP.clients }, target, WARM_UP.seconds, stage, run.signal);
    }
  }
}

/**
 * Asks each load of each target once. The first round is asked whole, a later one while there is time. A load
 * that fails says so in the report; the others go on.
 */
async function askRound(round: number, results: readonly Asked[], stage: Stage, run: Run): Promise<void> {
  for (const asked of results) {
    const late = systemClock.nowMs() - run.startedMs > EFFORT[run.mode].deadlineMs;
    if (asked.failure !== null || (round > 1 && late)) continue;
    const { title } = asked.load;
    try {
      const samples = await askTargets(asked.load, stage, run);
      asked.rounds.push(samples);
      const rates = TARGETS.map((target) => `${target} ${samples[target].queriesPerSecond.toFixed(0)}`);
      say(`${title}, round ${round}: ${rates.join(', ')} queries/s`);
    } catch (error) {
      run.signal.throwIfAborted();
      asked.failure = `${title}, round ${round}: ${messageOf(error)}`;
      say(asked.failure);
    }
  }
}

async function askTargets(load: Load, stage: Stage, run: Run): Promise<LoadRound> {
  const ask = (target: Target): Promise<Sample> =>
    measure(load, target, EFFORT[run.mode].seconds, stage, run.signal);
  return { direct: await ask('direct'), haproxy: await ask('haproxy'), dbproxy: await ask('dbproxy') };
}

async function measure(
  load: Load,
  target: Target,
  seconds: number,
  stage: Stage,
  signal: AbortSignal,
): Promise<Sample> {
  const pids = stage.processes(target);
  const cpuBefore = cpuMicros(pids);
  const outcome = await runLoad(load, target, seconds, stage.ports[target][load.endpoint], signal);
  const cpuUsed = cpuMicros(pids) - cpuBefore;
  const { queries, queriesPerSecond, p99Ms, errors } = outcome;
  return {
    queriesPerSecond,
    p99Ms,
    cpuMicrosPerQuery: pids.length === 0 ? null : cpuUsed / queries,
    errors,
  };
}

async function runLoad(
  { script, clients, options, endpoint }: Load,
  target: Target,
  seconds: number,
  port: number,
  signal: AbortSignal,
): Promise<SysbenchOutcome> {
  // A client of ours that fails ends the run, so there are no errors to count.
  if (endpoint === 'tls')
    return { ...(await runTlsLoad(target, { port, clients, seconds }, signal)), errors: 0 };
  const output = await runSysbench({ script, command: 'run', port, clients, seconds, options }, signal);
  const outcome = parseSysbench(output);
  if (outcome === null || outcome.queries === 0) throw new Error(`sysbench says nothing of its queries`);
  return outcome;
}

function conditions(mode: Conditions['mode']): Conditions {
  const cores = cpus();
  const busy = loadavg()[0]!.toFixed(1);
  const firstLine = (program: string, argument: string): string =>
    execFileSync(program, [argument], { encoding: 'utf8', env: programEnvironment() }).split('\n')[0]!.trim();
  const haproxy = /\d+(\.\d+)+/.exec(firstLine('haproxy', '-v'))?.[0];
  const mariadb = /\d+(\.\d+)+/.exec(firstLine('mariadbd', '--version'))?.[0];
  return {
    date: new Date(systemClock.wallMs()).toISOString(),
    machine: `${cores.length} cores, ${cores[0]?.model.trim() ?? 'unknown'}; load average before the start ${busy}`,
    versions: `Node.js ${process.versions.node}, MariaDB ${mariadb}, HAProxy ${haproxy} with ${PARALLELISM} threads, dbproxy with ${PARALLELISM} workers, ${firstLine('sysbench', '--version')}`,
    mode,
  };
}

/** Debian puts servers where an ordinary user's PATH does not look. */
function programEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` };
}

function publish(report: Report, { jsonPath }: BenchOptions): void {
  const text = formatReport(report);
  process.stdout.write(`\n${text}\n`);
  write(RESULT_PATH, text);
  if (jsonPath !== null) write(jsonPath, reportAsJson(report));
  if (report.failures.length > 0) process.exitCode = 1;
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  process.stdout.write(`written to ${path}\n`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}

function fail(exitCode: number, text: string): void {
  say(text);
  process.exitCode = exitCode;
}
