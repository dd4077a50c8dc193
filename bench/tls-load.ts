/**
 * Question: what does TLS towards clients cost? Point selects again, with TLS between client and proxy and
 * none between proxy and server. HAProxy ends TLS from the first byte, dbproxy after the MySQL protocol's
 * request for it; direct is without TLS, as a measure of the clients. The clients are our own program (see
 * `tls-client.ts`) for all three.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Load } from './load.ts';
import type { Target } from './report.ts';
import { TABLE_ROWS } from './sysbench.ts';

const CLIENTS = [1, 32];
const CLIENT_PROGRAM = join(import.meta.dirname, 'tls-client.ts');

export const tlsPointSelects: readonly Load[] = CLIENTS.map((clients) => ({
  name: `tls-point-select-${clients}`,
  title: `point select, TLS, ${clients} client${clients === 1 ? '' : 's'}`,
  endpoint: 'tls',
  clients,
  script: CLIENT_PROGRAM,
  options: [],
  quick: clients === 32,
}));

/** When TLS begins. */
export type TlsStart = 'plain' | 'first-byte' | 'in-band';

const starts: Readonly<Record<Target, TlsStart>> = {
  direct: 'plain',
  haproxy: 'first-byte',
  dbproxy: 'in-band',
};

export interface TlsLoadOutcome {
  queries: number;
  queriesPerSecond: number;
  p99Ms: number;
}

/** Runs the clients; rejects when one fails. */
export async function runTlsLoad(
  target: Target,
  run: { port: number; clients: number; seconds: number },
  signal: AbortSignal,
): Promise<TlsLoadOutcome> {
  const args = [run.port, run.clients, run.seconds, TABLE_ROWS, starts[target]].map(String);
  const program = ['--pdeathsig', 'KILL', '--', process.execPath, CLIENT_PROGRAM, ...args];
  const child = spawn('setpriv', program, {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
    killSignal: 'SIGKILL',
  });
  let output = '';
  let complaint = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(-500)));
  const [code] = (await once(child, 'close')) as [number | null];
  signal.throwIfAborted();
  if (code !== 0) throw new Error(`the TLS clients on port ${run.port} failed (${code}): ${complaint}`);
  return JSON.parse(output) as TlsLoadOutcome;
}
