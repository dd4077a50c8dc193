/**
 * One real MariaDB server of our own: its data directory made once, then started, stopped, killed or
 * frozen at will. The demo runs two of them, and so do the tests.
 *
 * Three things keep it from being left behind: it gets SIGTERM from the kernel when the process that
 * started it dies (setpriv --pdeathsig); it has a pid file, by which the next start finds and stops one
 * that survived all the same; and it runs in a process group of its own, so that a terminal's Ctrl-C
 * reaches us alone and we stop it in our order.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, createWriteStream, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const INITIALISE_TIMEOUT_MS = 120_000;

/** Small files and little memory: two of these run beside everything else on one machine. */
const SIZE_OPTIONS = [
  '--innodb-log-file-size=16M',
  '--innodb-buffer-pool-size=64M',
  '--aria-pagecache-buffer-size=8M',
  '--key-buffer-size=4M',
];

export interface MariaDbOptions {
  /** Its name in messages. */
  name: string;
  /** Holds `data/`, `log`, `pid` and `socket`. */
  directory: string;
  /** On 127.0.0.1. */
  port: number;
  serverId: number;
  /** Options of mariadbd beyond those that every server here has. */
  extraOptions?: readonly string[];
  /** What the kernel sends the server when we die: a clean stop for data to keep, KILL for a test's. */
  signalWhenOrphaned?: 'TERM' | 'KILL';
  clock: Clock;
  /** The server ended although nobody stopped it. */
  onCrash?: (server: MariaDbServer, how: string) => void;
}

/** One row of an answer. */
export type Row = Record<string, unknown>;

export class MariaDbServer {
  readonly name: string;
  readonly port: number;
  readonly directory: string;
  readonly logPath: string;
  readonly socketPath: string;
  #options: MariaDbOptions;
  #process: ChildProcess | null = null;
  #stopping = false;

  constructor(options: MariaDbOptions) {
    this.#options = options;
    this.name = options.name;
    this.port = options.port;
    this.directory = options.directory;
    this.logPath = join(options.directory, 'log');
    this.socketPath = join(options.directory, 'socket');
  }

  get running(): boolean {
    return this.#process !== null;
  }

  /** Its process id, while it runs. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts the server on its data directory; resolves when it takes connections. */
  async start(): Promise<void> {
    if (this.#process !== null) throw new Error(`${this.name} is running already`);
    await stopLeftover(this.directory, this.#options.clock);
    await rm(this.socketPath, { force: true });

    const program = findProgram('mariadbd');
    const orphanSignal = this.#options.signalWhenOrphaned ?? 'TERM';
    const child = spawn('setpriv', ['--pdeathsig', orphanSignal, '--', program, ...this.#serverOptions()], {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    this.#process = child;
    this.#stopping = false;
    child.once('exit', (code, signal) => {
      this.#process = null;
      if (!this.#stopping) this.#options.onCrash?.(this, signal ?? `exit code ${code}`);
    });
    try {
      await this.#readyOf(child);
    } catch (error) {
      await this.kill();
      throw error;
    }
  }

  /** SIGTERM, and SIGKILL when that does not end it in time. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (child === null) return;
    this.#stopping = true;
    const exited = once(child, 'exit');
    const timer = this.#options.clock.after(STOP_TIMEOUT_MS, () => child.kill('SIGKILL'));
    child.kill('SIGTERM');
    child.kill('SIGCONT');
    await exited;
    timer.cancel();
  }

  /** SIGKILL: what a crash of the machine looks like to its clients and its data. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === null) return;
    this.#stopping = true;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  /** Freezes the server: connections stay open and nothing answers. */
  pause(): void {
    this.#process?.kill('SIGSTOP');
  }

  /** Ends a `pause`. */
  resume(): void {
    this.#process?.kill('SIGCONT');
  }

  /** A connection as root over the server's own socket; the caller ends it. */
  connectAsRoot(): Promise<Connection> {
    return createConnection({ socketPath: this.socketPath, user: 'root' });
  }

  /** Runs one statement as root and answers its rows. */
  async query(sql: string): Promise<Row[]> {
    const connection = await this.connectAsRoot();
    try {
      const [rows] = await connection.query<RowDataPacket[]>(sql);
      return rows;
    } finally {
      await connection.end();
    }
  }

  /** Runs statements as root, one after the other. */
  async execute(...statements: string[]): Promise<void> {
    const connection = await this.connectAsRoot();
    try {
      for (const statement of statements) await connection.query(statement);
    } finally {
      await connection.end();
    }
  }

  #serverOptions(): string[] {
    const { directory, port, serverId, extraOptions = [] } = this.#options;
    return [
      '--no-defaults',
      ...userOption(),
      ...SIZE_OPTIONS,
      `--datadir=${join(directory, 'data')}`,
      `--tmpdir=${join(directory, 'data')}`,
      `--pid-file=${pidPath(directory)}`,
      `--socket=${this.socketPath}`,
      '--bind-address=127.0.0.1',
      `--port=${port}`,
      `--server-id=${serverId}`,
      '--skip-name-resolve',
      ...extraOptions,
    ];
  }

  /** mariadbd says on standard error when it is ready; all it says is kept in the log file. */
  async #readyOf(child: ChildProcess): Promise<void> {
    const log = createWriteStream(this.logPath, { flags: 'a' });
    child.stderr!.pipe(log);
    await new Promise<void>((resolve, reject) => {
      const timer = this.#options.clock.after(READY_TIMEOUT_MS, () =>
        reject(this.#failed('was not ready in time')),
      );
      createInterface({ input: child.stderr! }).on('line', (line) => {
        if (line.includes('ready for connections')) resolve();
      });
      child.once('error', (error) => reject(this.#failed(`cannot be run: ${error.message}`)));
      child.once('exit', () => reject(this.#failed('ended while it started')));
      child.once('exit', () => timer.cancel());
    });
  }

  #failed(what: string): Error {
    return refusal('DBPROXY_DEMO_SERVER', this.name, what, this.logPath);
  }
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
  const common = ['--no-defaults', `--datadir=${data}`, ...userOption(), SIZE_OPTIONS[0]!];
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

/** Stops a server that an earlier run has left on this directory. */
export async function stopLeftover(directory: string, clock: Clock): Promise<void> {
  const pid = leftoverPid(directory);
  if (pid === null) return;
  process.kill(pid, 'SIGTERM');
  process.kill(pid, 'SIGCONT');
  const timer = clock.after(STOP_TIMEOUT_MS, () => process.kill(pid, 'SIGKILL'));
  // It is not our child, so its end is no event for us; tail makes it one.
  const watch = ['--follow', '/dev/null', `--pid=${pid}`, '--sleep-interval=0.05'];
  await once(spawn('tail', watch, { stdio: 'ignore' }), 'exit');
  timer.cancel();
}

/** The pid in the pid file, when that process still is a server on this directory. */
function leftoverPid(directory: string): number | null {
  try {
    const pid = Number(readFileSync(pidPath(directory), 'utf8').trim());
    const commandLine = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return commandLine.includes(`--datadir=${join(directory, 'data')}`) ? pid : null;
  } catch {
    return null;
  }
}

function pidPath(directory: string): string {
  return join(directory, 'pid');
}

/** mariadbd refuses to run as root unless told so. */
function userOption(): string[] {
  return process.getuid?.() === 0 ? ['--user=root'] : [];
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

async function runToEnd(program: string, args: string[], input: string, clock: Clock): Promise<void> {
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
