/**
 * `npm test`: first the checks that need no running program (types, lint, format, dead code), then every test
 * file, unit before integration; two at a time, as most of them wait for servers most of the time, and none
 * measures time. The simulator, which waits for nobody, goes on beside them with what they leave of the processors. At last
 * those that go by the clock, one by one. With files as arguments it runs just those.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, globSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { PassThrough, type Writable } from 'node:stream';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { killLateChildren } from './late-children.ts';

const CHECKS = ['typecheck', 'lint', 'format:check', 'deadcode'];
/** Of checks, and of test files: each has its own ports and folders. */
const AT_ONCE = Math.min(2, availableParallelism());
/** Simple to elaborate: a failure at the bottom explains those above it. */
const ORDER = [
  'test/unit/',
  'test/scenarios/',
  'test/integration/',
  'test/differential/',
  'test/clients/',
  'test/sim/',
  'test/pair/',
];
/** It gives way to all others, by its priority. */
const BESIDE = 'test/sim/';
/** Hosts of a network that go by the clock: one such network at a time. */
const ALONE = 'test/pair/';
/** For a whole file; a test that hangs must not hang the run. */
const FILE_TIMEOUT_MS = 600_000;
/** How long a file that has had its time may take to end by itself, and how often is looked. */
const END_TIMEOUT_MS = 10_000;
const LOOK_EVERY_MS = 2_000;
/** Files that took longer are named with their time: what to look at first when the whole takes too long. */
const LONG_MS = 15_000;

/** A file system in memory, and how much room it must have: servers are small, and two files have some each. */
const MEMORY = '/dev/shm';
const MEMORY_BYTES = 6 * 1024 ** 3;

const asked = process.argv.slice(2);
keepFoldersInMemory();
if (asked.length > 0) await runTests(expand(asked));
else if (await runChecks()) await runTests(inOrder(globSync('test/**/*.test.ts')));
else process.exitCode = 1;

/** Each commit of a server waits for its disk, which no test is about. A TMPDIR that is set stays. */
function keepFoldersInMemory(): void {
  if (process.env['TMPDIR'] !== undefined || freeBytes(MEMORY) < MEMORY_BYTES) return;
  // A short name: sockets are in it, whose paths have a bound.
  const folder = mkdtempSync(join(MEMORY, 'dbp-'));
  // As /tmp is: some programs run as somebody else.
  chmodSync(folder, 0o1777);
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  process.env['TMPDIR'] = folder;
}

function freeBytes(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return 0;
  }
}

async function runChecks(): Promise<boolean> {
  const waiting = [...CHECKS];
  const results: boolean[] = [];
  const lane = async (): Promise<void> => {
    for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
      results.push(await runCheck(check));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return results.every(Boolean);
}

async function runCheck(name: string): Promise<boolean> {
  const started = performance.now();
  const child = spawn('npm', ['run', '--silent', name], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  }
  const [code] = (await once(child, 'close')) as [number | null];
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${code === 0 ? '✔' : '✖'} ${name} (${seconds} s)`);
  if (code !== 0) console.log(output);
  return code === 0;
}

async function runTests(files: string[]): Promise<void> {
  if (files.length === 0) throw new Error('no test file of this name');
  const beside = files.filter((file) => file.startsWith(BESIDE));
  const alone = files.filter((file) => file.startsWith(ALONE));
  const others = files.filter((file) => !beside.includes(file) && !alone.includes(file));
  const told = new PassThrough();
  // What it has to say comes when the others have spoken.
  const besides = runFiles(beside, 1, told);
  await runFiles(others, AT_ONCE, process.stdout);
  told.pipe(process.stdout);
  await besides;
  await runFiles(alone, 1, process.stdout);
}

async function runFiles(files: string[], atOnce: number, out: Writable): Promise<void> {
  if (files.length === 0) return;
  const events = run({ files, concurrency: atOnce, timeout: FILE_TIMEOUT_MS });
  events.on('test:fail', ({ todo }) => {
    if (todo === undefined || todo === false) process.exitCode = 1;
  });
  events.on('test:summary', ({ file, duration_ms: ms }) => {
    if (file !== undefined && ms > LONG_MS)
      out.write(`(${(ms / 1000).toFixed(0)} s: ${relative('.', file)})\n`);
  });
  const watch = setInterval(() => {
    const killed = killLateChildren(FILE_TIMEOUT_MS + END_TIMEOUT_MS);
    if (killed.length > 0) out.write(`(killed what did not end: ${killed.join(' ')})\n`);
  }, LOOK_EVERY_MS);
  const output = events.compose(spec);
  output.pipe(out, { end: false });
  await once(output, 'end');
  clearInterval(watch);
}

function expand(patterns: string[]): string[] {
  return inOrder(globSync(patterns));
}

/** In the order of ORDER, by name within each; what is nowhere in it comes last. */
function inOrder(files: string[]): string[] {
  const rank = (file: string): number => {
    const index = ORDER.findIndex((folder) => file.startsWith(folder));
    return index === -1 ? ORDER.length : index;
  };
  return files.toSorted((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}
