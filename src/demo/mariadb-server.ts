/**
 * MariaDB as one of our servers: which program, with how much memory, and how its data directory is made.
 * The demo runs two of them, and so do the tests.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import { DatabaseServer, userOption, type ServerOptions } from './database-server.ts';

const INITIALISE_TIMEOUT_MS = 120_000;

/** Small files and little memory: two of these run beside everything else on one machine. */
const SIZE_OPTIONS = [
  '--innodb-log-file-size=16M',
  '--innodb-buffer-pool-size=64M',
  '--aria-pagecache-buffer-size=8M',
  '--key-buffer-size=4M',
];

/** A MariaDB server that is not running yet. */
export function mariaDbServer(options: ServerOptions): DatabaseServer {
  return new DatabaseServer(options, [findProgram('mariadbd'), '--no-defaults', ...SIZE_OPTIONS]);
}

/**
 * Makes `directory/data` unless it is there: the system tables, then `sql` (one statement a line) run
 * once by the server itself, not logged, so that every server made this way starts with equal accounts
 * and an empty history.
 */
export async function initialiseDataDirectory(
  directory: string,
  sql: readonly string[],
  clock: Clock,
): Promise<void> {
  const data = join(directory, 'data');
  if (existsSync(join(data, 'mysql', 'db.opt'))) return;
  await rm(data, { recursive: true, force: true });
  mkdirSync(data, { recursive: true, mode: 0o700 });
  // A server that starts removes what looks like temporary tables of a dead one, in a folder that others have, too.
  const common = [
    '--no-defaults',
    `--datadir=${data}`,
    `--tmpdir=${data}`,
    ...userOption(),
    SIZE_OPTIONS[0]!,
  ];
  await runToEnd(
    findProgram('mariadb-install-db'),
    [...common, '--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve'],
    '',
    clock,
  );
  const statements = ['flush privileges', 'set sql_log_bin = 0', ...sql].map(
    (statement) => `${statement};\n`,
  );
  await runToEnd(findProgram('mariadbd'), [...common, '--bootstrap'], statements.join(''), clock);
}

/** Looks where a server program may be, also where an ordinary user's PATH does not look. */
function findProgram(name: string): string {
  const folders = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    '/usr/sbin',
    '/usr/bin',
    '/usr/local/sbin',
  ];
  const found = folders.map((folder) => join(folder, name)).find(isExecutable);
  if (found === undefined) throw refusal('DBPROXY_PROGRAM_MISSING', name, 'apt-get install mariadb-server');
  return found;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs a program that makes a data directory and ends, with SQL for it as its input. */
export async function runToEnd(
  program: string,
  args: readonly string[],
  input: string,
  clock: Clock,
): Promise<void> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  const timer = clock.after(INITIALISE_TIMEOUT_MS, () => child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-4000)));
  }
  child.stdin.on('error', () => undefined); // it ended early; its exit code says so
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  timer.cancel();
  if (code !== 0 || /\bERROR:? /.test(output)) {
    throw new Error(`${program} ${args.join(' ')} failed (${code}):\n${output}`);
  }
}
