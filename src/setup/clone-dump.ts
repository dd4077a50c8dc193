/**
 * Filling a server by a dump that is loaded while it is made: the servers' own programs do both, and the bytes
 * only pass through here, counted. Nothing of it goes into the target's binary log, so it has no history but the
 * one it was given: the place in the source's log that the dump was made at.
 *
 * Manual: https://mariadb.com/kb/en/mariadb-dump/, https://dev.mysql.com/doc/refman/8.4/en/mysqldump.html,
 *         https://mariadb.com/kb/en/binlog_gtid_pos/
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { BackendConfig } from '../config/config.ts';
import type { ControlAccount } from '../monitor/connection.ts';
import { completePosition, stateAt } from '../monitor/gtid.ts';
import { text, type Statement } from '../monitor/flavour/row.ts';
import type { StartingPoint } from '../monitor/flavour/setup.ts';
import { DBPROXY_SCHEMA } from '../monitor/flavour/tables.ts';
import type { CloneJob } from './clone-job.ts';
import { quoteSchema, schemasOf } from './inventory.ts';
import { STATEMENT_TIMEOUT_MS } from './servers.ts';

/** Full paths. */
export interface DumpPrograms {
  readonly dump: string;
  readonly load: string;
}

const DUMP_TIMEOUT_MS = 24 * 3_600_000;
const PROGRESS_MS = 2_000;
/** The place in the log is said before the first table. */
const HEAD_BYTES = 65_536;
const MAX_COMPLAINT_LENGTH = 1_000;

/** The programs of a family on this machine, or what is missing in words. */
export function findDumpPrograms(family: 'mariadb' | 'mysql'): DumpPrograms | string {
  const names =
    family === 'mariadb' ? (['mariadb-dump', 'mariadb'] as const) : (['mysqldump', 'mysql'] as const);
  const [dump, load] = names.map(findInPath);
  const hint = family === 'mariadb' ? 'apt-get install mariadb-client' : "MySQL's own client programs";
  if (dump === undefined || load === undefined) {
    return `the data would be copied by ${names.join(' and ')}, which are not on this machine: install ${hint}`;
  }
  if (family === 'mysql' && /mariadb/i.test(execFileSync(dump, ['--version'], { encoding: 'utf8' }))) {
    return `the data would be copied by mysqldump, and ${dump} is MariaDB's, which does not know MySQL's global ids: install ${hint}`;
  }
  return { dump, load };
}

/** Resolves, with what was done in words, when all is loaded and the target knows where it is. */
export async function cloneByDump(job: CloneJob, programs: DumpPrograms): Promise<string> {
  const { servers, source, target, stock } = job;
  const schemas = [...schemasOf(stock), ...(stock.hasOwnSchema ? [DBPROXY_SCHEMA] : [])];
  await emptyHistory(job);
  const before = await servers.identity(source.backend);
  const folder = mkdtempSync(join(tmpdir(), 'dbproxy-clone-'));
  try {
    const from = optionsFile(folder, 'from', source.backend, job.account);
    const into = optionsFile(folder, 'into', target.backend, job.account);
    const { bytes, head } = await copy(
      job,
      [programs.dump, from, ...dumpOptions(job), '--databases', ...schemas],
      [programs.load, into, '--init-command=SET SESSION sql_log_bin = 0'],
    );
    await makeAccounts(job);
    if (source.words.family === 'mariadb') await beginAt(job, before, head);
    const { position, replicatedPosition } = await servers.identity(target.backend);
    const at = replicatedPosition || position || 'nothing';
    return `${megabytes(bytes)} copied from ${source.backend.name}; it is at ${at}`;
  } catch (error) {
    await dropAll(job, schemas);
    throw error;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function dumpOptions({ source }: CloneJob): string[] {
  const all = ['--single-transaction', '--routines', '--events', '--triggers', '--hex-blob', '--quick'];
  return source.words.family === 'mariadb' ? [...all, '--master-data=2'] : [...all, '--set-gtid-purged=ON'];
}

async function emptyHistory({ servers, target }: CloneJob): Promise<void> {
  const { superReadOnly, position } = target.facts;
  if (superReadOnly) await servers.ask(target.backend, 'SET GLOBAL super_read_only = 0');
  if (position !== '') await servers.ask(target.backend, target.words.forgetHistory);
}

/**
 * The dump names the source's own log; the source knows which global ids that is. Who has written before, and how
 * far, it knew before the dump began: since then its log can only have gone on.
 */
async function beginAt(
  { servers, source, target }: CloneJob,
  before: StartingPoint,
  head: string,
): Promise<void> {
  const place = /MASTER_LOG_FILE='([^']+)', MASTER_LOG_POS=(\d+)/.exec(head);
  if (place === null) throw new Error('the dump does not say which place in the binary log it was made at');
  const donor = await servers.of(source.backend);
  const [row] = await donor.connection.run(
    { sql: 'SELECT BINLOG_GTID_POS(?, ?) AS position', values: [place[1]!, Number(place[2])] },
    STATEMENT_TIMEOUT_MS,
  );
  const there = text(row?.position);
  // Of a domain that its log does not have, it stands where it was filled or pointed itself.
  const position = completePosition(there, before.replicatedPosition);
  const start = { position, replicatedPosition: '', history: stateAt(before.history, there) };
  const { connection } = await servers.of(target.backend);
  for (const statement of target.words.startAt(start)) {
    await connection.run(statement, STATEMENT_TIMEOUT_MS);
  }
}

/** All of them, or none: one that is there is not made again by the next try. */
async function makeAccounts({ servers, target, accounts }: CloneJob): Promise<void> {
  const { connection } = await servers.of(target.backend);
  const run = ({ sql }: Statement): Promise<unknown> => connection.run(sql, STATEMENT_TIMEOUT_MS);
  await run({ sql: 'SET SESSION sql_log_bin = 0' });
  try {
    for (const statement of accounts.make) await run(statement);
  } catch (error) {
    for (const statement of accounts.drop) await run(statement).catch(() => undefined); // it was not made
    throw error;
  } finally {
    if (connection.usable) await run({ sql: 'SET SESSION sql_log_bin = 1' });
  }
}

/** It was empty before, so all that is there is ours. */
async function dropAll({ servers, target }: CloneJob, schemas: readonly string[]): Promise<void> {
  try {
    await servers.ask(target.backend, 'SET SESSION sql_log_bin = 0');
    for (const schema of schemas) {
      await servers.ask(target.backend, `DROP DATABASE IF EXISTS ${quoteSchema(schema)}`);
    }
    await servers.ask(target.backend, 'SET SESSION sql_log_bin = 1');
    // A dump of MySQL says at its beginning what it is going to hold.
    const { position } = await servers.identity(target.backend);
    if (position !== '') await servers.ask(target.backend, target.words.forgetHistory);
  } catch {
    // What stopped the copying stops this, too; the error says that a part may be there.
  }
}

async function copy(
  { world, tell }: CloneJob,
  dumpCommand: readonly string[],
  loadCommand: readonly string[],
): Promise<{ bytes: number; head: string }> {
  world.stopping?.throwIfAborted();
  const dump = start(dumpCommand, ['ignore', 'pipe', 'pipe']);
  const load = start(loadCommand, ['pipe', 'ignore', 'pipe']);
  const both = [dump, load];
  const killBoth = (): void => both.forEach(({ child }) => void child.kill('SIGKILL'));
  const limit = world.clock.after(DUMP_TIMEOUT_MS, killBoth);
  world.stopping?.addEventListener('abort', killBoth);
  let bytes = 0;
  let head = '';
  const counter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (bytes < HEAD_BYTES) head += chunk.toString('latin1', 0, HEAD_BYTES - bytes);
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  const progress = world.clock.every(PROGRESS_MS, () => tell(`${megabytes(bytes)} copied`));
  try {
    const flow = pipeline(dump.child.stdout!, counter, load.child.stdin!).catch(() => undefined); // the exit codes tell why
    await Promise.all([dump.ended, load.ended, flow]);
    world.stopping?.throwIfAborted();
    return { bytes, head };
  } catch (error) {
    killBoth();
    await Promise.allSettled([dump.ended, load.ended]);
    world.stopping?.throwIfAborted();
    throw error;
  } finally {
    world.stopping?.removeEventListener('abort', killBoth);
    limit.cancel();
    progress.cancel();
  }
}

/** `ended` rejects with what the program complained of. */
function start(
  [program, ...args]: readonly string[],
  stdio: ('pipe' | 'ignore')[],
): { child: ChildProcess; ended: Promise<void> } {
  const child = spawn(program!, args, { stdio });
  let complaint = '';
  child.stderr!.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-MAX_COMPLAINT_LENGTH);
  });
  const ended = once(child, 'close').then(([code]) => {
    if (code !== 0) throw new Error(`${program} ended with ${code}: ${complaint.trim()}`);
  });
  ended.catch(() => undefined); // whoever waits for it is told
  return { child, ended };
}

/** How a client program gets to a server: in a file that only we can read, for others see its command line. */
function optionsFile(folder: string, name: string, backend: BackendConfig, account: ControlAccount): string {
  const { address, tls, tlsCa, tlsCert, tlsKey } = backend;
  const escape = (value: string): string => `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
  const lines = [
    '[client]',
    `user = ${escape(account.monitorUser)}`,
    `password = ${escape(account.monitorPassword)}`,
    ...(address.kind === 'tcp'
      ? ['protocol = tcp', `host = ${address.host}`, `port = ${address.port}`]
      : [`socket = ${address.path}`]),
    ...(tls === 'off'
      ? ['loose-skip-ssl', 'loose-ssl-mode = DISABLED', 'loose-get-server-public-key']
      : ['loose-ssl']),
    ...(tls === 'required' ? ['loose-ssl-mode = REQUIRED'] : []),
    ...(tls === 'verify' ? ['loose-ssl-verify-server-cert', 'loose-ssl-mode = VERIFY_IDENTITY'] : []),
    ...(tlsCa === undefined ? [] : [`ssl-ca = ${tlsCa}`]),
    ...(tlsCert === undefined ? [] : [`ssl-cert = ${tlsCert}`]),
    ...(tlsKey === undefined ? [] : [`ssl-key = ${tlsKey}`]),
  ];
  const path = join(folder, `${name}.cnf`);
  writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o600 });
  return `--defaults-file=${path}`;
}

function findInPath(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
