/**
 * Runs sysbench and reads what it says. When connections fail it writes a line a client and query, so only
 * the beginning of its output is kept, and a few lines of that are shown.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const OUTPUT_LIMIT_BYTES = 64 * 1024;
const SHOWN_LINES = 4;
const SHOWN_CHARACTERS = 200;

/** The table that all loads work on. */
export const TABLE_ROWS = 20_000;

export interface SysbenchRun {
  script: string;
  command: 'prepare' | 'run';
  port: number;
  clients: number;
  seconds: number;
  options: readonly string[];
}

export interface SysbenchOutcome {
  queries: number;
  queriesPerSecond: number;
  p99Ms: number;
  errors: number;
}

/** Runs it as the application's account on database demo; answers its output. Rejects when it fails. */
export async function runSysbench(run: SysbenchRun, signal: AbortSignal): Promise<string> {
  const args = [
    run.script,
    '--db-driver=mysql',
    '--mysql-host=127.0.0.1',
    `--mysql-port=${run.port}`,
    '--mysql-user=app',
    '--mysql-password=app',
    '--mysql-db=demo',
    '--db-ps-mode=disable',
    `--table-size=${TABLE_ROWS}`,
    '--rand-type=uniform',
    `--threads=${run.clients}`,
    `--time=${run.seconds}`,
    '--percentile=99',
    ...run.options,
    run.command,
  ];
  // Killed by the kernel with us; aborted by the signal before that.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'sysbench', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
    killSignal: 'SIGKILL',
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      if (output.length < OUTPUT_LIMIT_BYTES) output += text;
    });
  }
  const [code] = (await once(child, 'close')) as [number | null];
  signal.throwIfAborted();
  if (code !== 0) throw new Error(complaint(run, code, output));
  return output;
}

/** Reads the statistics at the end of a run; null when they are not there. */
export function parseSysbench(output: string): SysbenchOutcome | null {
  const queries = /^\s*queries:\s+(\d+)\s+\(([\d.]+) per sec\.\)/m.exec(output);
  const p99 = /^\s*99th percentile:\s+([\d.]+)/m.exec(output);
  const errors = /^\s*ignored errors:\s+(\d+)/m.exec(output);
  if (queries === null || p99 === null || errors === null) return null;
  return {
    queries: Number(queries[1]),
    queriesPerSecond: Number(queries[2]),
    p99Ms: Number(p99[1]),
    errors: Number(errors[1]),
  };
}

/** The first complaints of sysbench, in a few short lines. */
function complaint(run: SysbenchRun, code: number | null, output: string): string {
  const fatal = output.split('\n').filter((line) => /FATAL|error/i.test(line));
  const shown = fatal.slice(0, SHOWN_LINES).map((line) => `  ${line.slice(0, SHOWN_CHARACTERS)}`);
  const more =
    fatal.length > SHOWN_LINES ? [`  and ${fatal.length - SHOWN_LINES} lines more like these`] : [];
  const what = `sysbench ${run.script} ${run.command} on port ${run.port} failed (${code})`;
  return [what, ...shown, ...more].join('\n');
}
