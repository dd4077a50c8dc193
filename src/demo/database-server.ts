/**
 * One real database server of our own: started, stopped, killed or frozen at will. Which program it is
 * and with which options it runs is said by whoever makes one (`mariadb-server.ts`; the tests also run
 * MySQL this way).
 *
 * Three things keep it from being left behind: it gets SIGTERM from the kernel when the process that
 * started it dies (setpriv --pdeathsig); it has a pid file, by which the next start finds and stops one
 * that survived all the same; and it runs in a process group of its own, so that a terminal's Ctrl-C
 * reaches us alone and we stop it in our order.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;

export interface ServerOptions {
  /** Its name in messages. */
  name: string;
  /** Holds `data/`, `log`, `pid` and `socket`. */
  directory: string;
  /** On 127.0.0.1. */
  port: number;
  serverId: number;
  /** Options of the server program beyond those that every server here has. */
  extraOptions?: readonly string[];
  /** What the kernel sends the server when we die: a clean stop for data to keep, KILL for a test's. */
  signalWhenOrphaned?: 'TERM' | 'KILL';
  clock: Clock;
  /** The server ended although nobody stopped it. */
  onCrash?: (server: DatabaseServer, how: string) => void;
}

/** One row of an answer. */
export type Row = Record<string, unknown>;

export class DatabaseServer {
  readonly name: string;
  readonly port: number;
  readonly directory: string;
  readonly logPath: string;
  readonly socketPath: string;
  #options: ServerOptions;
  #command: readonly string[];
  #process: ChildProcess | null = null;
  #stopping = false;

  /** @param command The program and what it needs to be told besides `commonOptions`. */
  constructor(options: ServerOptions, command: readonly string[]) {
    this.#options = options;
    this.#command = command;
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

    const orphanSignal = this.#options.signalWhenOrphaned ?? 'TERM';
    const command = ['--pdeathsig', orphanSignal, '--', ...this.#command, ...commonOptions(this.#options)];
    const child = spawn('setpriv', command, {
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

  /** A server says on standard error when it is ready; all it says is kept in the log file. */
  async #readyOf(child: ChildProcess): Promise<void> {
    const log = createWriteStream(this.logPath, { flags: 'a' });
    child.stderr!.pipe(log);
    // On a full disk the server has more to tell than can be kept; that must not end who looks after it.
    log.on('error', () => child.stderr!.unpipe(log));
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

/** What MariaDB and all generations of MySQL are told in the same words. */
function commonOptions({ directory, port, serverId, extraOptions = [] }: ServerOptions): string[] {
  return [
    ...userOption(),
    `--datadir=${join(directory, 'data')}`,
    `--tmpdir=${join(directory, 'data')}`,
    `--pid-file=${pidPath(directory)}`,
    `--socket=${join(directory, 'socket')}`,
    '--bind-address=127.0.0.1',
    `--port=${port}`,
    `--server-id=${serverId}`,
    '--skip-name-resolve',
    ...extraOptions,
  ];
}

/** A server refuses to run as root unless told so. */
export function userOption(): string[] {
  return process.getuid?.() === 0 ? ['--user=root'] : [];
}
