/**
 * A real proxy process for a test: `src/cli.ts run` with a configuration of its own on free ports, its
 * log collected event by event.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import {
  createConnection,
  type Connection,
  type ConnectionOptions,
  type RowDataPacket,
} from 'mysql2/promise';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import { endAtOnce } from '../support/end-at-once.ts';
import { eventually } from '../support/eventually.ts';
import { freePorts } from './ports.ts';

const CLI = join(import.meta.dirname, '../../src/cli.ts');
const READY_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 20_000;

/** Sections by their heading (`cluster main`), each with its keys. */
export type ConfigSections = Record<string, Record<string, string | number>>;

export interface ProxyOptions {
  /** Laid over the lab's own configuration, key by key; new sections are added. */
  config?: ConfigSections;
  /** The whole configuration instead: what it is given are the ports and the state folder it must use. */
  configText?: (place: ProxyPlace) => string;
  workers?: number;
  /** The script in place of src/cli.ts. */
  program?: string;
  /**
   * What to wait for: `alive` until it logs dbproxy.ready (so not with a log_level above info), `routing`
   * until a write and a read can be routed as well, `none` not at all.
   */
  readyWhen?: 'routing' | 'alive' | 'none';
  env?: NodeJS.ProcessEnv;
  /** Where it runs; this machine itself unless told otherwise. */
  host?: ProxyHost;
}

/** A host that a proxy runs on: its admin and http ports are on `address`. */
export interface ProxyHost {
  readonly address: string;
  readonly ports: ProxyPorts;
  /** The command line that runs a program there. */
  command(...program: string[]): readonly string[];
}

/** The endpoints of the lab's own configuration. */
export type Endpoint = 'write' | 'read' | 'split';

export interface ProxyPorts {
  write: number;
  read: number;
  split: number;
  admin: number;
  http: number;
}

/** Where a proxy lives. */
export interface ProxyPlace {
  ports: ProxyPorts;
  stateDirectory: string;
  serverPorts: readonly [number, number];
}

/** One line of its log. */
export type LogEvent = Record<string, unknown> & { event: string };

export interface ProxyProcess {
  readonly ports: ProxyPorts;
  readonly configPath: string;
  readonly stateDirectory: string;
  /** The supervisor's process id; undefined when it does not run. */
  readonly pid: number | undefined;
  /** Every event it has logged so far. */
  readonly log: readonly LogEvent[];
  /** What it wrote that is no event: complaints, stack traces. */
  readonly output: string;
  /** The first event of this name that fits, past or to come; rejects after `timeoutMs`. */
  waitForEvent(name: string, fits?: (event: LogEvent) => boolean, timeoutMs?: number): Promise<LogEvent>;
  /** Connects to an endpoint: as app on database demo, unless told otherwise. Ended by `stop`. */
  connect(endpoint: Endpoint, options?: ConnectionOptions): Promise<Connection>;
  /** Runs a statement on the admin port; its rows, or nothing for one without. */
  admin(statement: string): Promise<Record<string, unknown>[]>;
  /** GET on the http port. */
  get(path: string): Promise<{ status: number; text: string }>;
  /** SIGTERM, SIGKILL after a bound; answers the exit code (null when killed). Harmless when it has ended. */
  stop(): Promise<number | null>;
  /** Sends a signal to the supervisor and waits for nothing. */
  signal(signal: NodeJS.Signals): void;
  /** Starts it again on the same configuration and state, after `stop` or an end of its own. */
  start(): Promise<void>;
  /** Resolves with the exit code when it ends by itself or is stopped. */
  ended(): Promise<number | null>;
}

/** The lab that a proxy belongs to, and its number among those of the lab. */
interface ProxyLab {
  readonly directory: string;
  readonly serverPorts: readonly [number, number];
  readonly number: number;
}

/** Called through `Lab.startProxy`. */
export async function startProxy(lab: ProxyLab, options: ProxyOptions): Promise<ProxyProcess> {
  const proxy = await prepareProxy(lab, options);
  await proxy.start();
  return proxy;
}

/** Its configuration is there; `start` starts it. */
export async function prepareProxy(lab: ProxyLab, options: ProxyOptions): Promise<ProxyProcess> {
  const directory = join(lab.directory, `proxy${lab.number}`);
  const place: ProxyPlace = {
    ports: options.host?.ports ?? (await freeProxyPorts()),
    stateDirectory: join(directory, 'state'),
    serverPorts: lab.serverPorts,
  };
  const configPath = join(directory, 'proxy.conf');
  mkdirSync(place.stateDirectory, { recursive: true });
  const text =
    options.configText?.(place) ??
    render(mergeSections(labConfig(place, options.workers ?? 2), options.config ?? {}));
  writeFileSync(configPath, text);

  return new RunningProxy(place, configPath, options);
}

async function freeProxyPorts(): Promise<ProxyPorts> {
  const [write, read, split, admin, http] = await freePorts(5);
  return { write: write!, read: read!, split: split!, admin: admin!, http: http! };
}

/** The configuration of a test: quick checks, the pair as cluster `main`, the accounts of the lab. */
export function labConfig(place: ProxyPlace, workers: number): ConfigSections {
  const { monitor, replication } = PAIR_ACCOUNTS;
  const local = (port: number): string => `127.0.0.1:${port}`;
  return {
    dbproxy: { state_dir: place.stateDirectory, workers, log_format: 'json', shutdown_timeout: '2s' },
    admin: { address: local(place.ports.admin), user: 'admin', password: 'admin' },
    http: { address: local(place.ports.http) },
    'cluster main': {
      monitor_user: monitor.user,
      monitor_password: monitor.password,
      replication_user: replication.user,
      replication_password: replication.password,
      check_interval: '200ms',
      check_fast_interval: '50ms',
      check_timeout: '500ms',
      // A test that is not about it wants its servers left as it has made them.
      semi_sync: 'off',
      rejoin: 'off',
      enforce_read_only: 'off',
    },
    'backend db1': { cluster: 'main', address: local(place.serverPorts[0]), rw_weight: 1 },
    'backend db2': { cluster: 'main', address: local(place.serverPorts[1]) },
    'listener write': { cluster: 'main', address: local(place.ports.write), mode: 'write' },
    'listener read': { cluster: 'main', address: local(place.ports.read), mode: 'read' },
    'listener split': { cluster: 'main', address: local(place.ports.split), mode: 'split' },
  };
}

/** Key by key, the later over the earlier. */
export function mergeSections(base: ConfigSections, over: ConfigSections): ConfigSections {
  const headings = new Set([...Object.keys(base), ...Object.keys(over)]);
  return Object.fromEntries(
    [...headings].map((heading) => [heading, { ...base[heading], ...over[heading] }]),
  );
}

function render(sections: ConfigSections): string {
  return Object.entries(sections)
    .map(([heading, keys]) => {
      const lines = Object.entries(keys).map(([key, value]) => `${key} = ${value}`);
      return [`[${heading}]`, ...lines, ''].join('\n');
    })
    .join('\n');
}

class RunningProxy implements ProxyProcess {
  readonly ports: ProxyPorts;
  readonly configPath: string;
  readonly stateDirectory: string;
  readonly log: LogEvent[] = [];
  output = '';
  #options: ProxyOptions;
  #child: ChildProcess | null = null;
  #exitCode: number | null = null;
  #connections: Connection[] = [];
  #arrivals = new EventEmitter<{ event: [LogEvent] }>().setMaxListeners(0);

  constructor(place: ProxyPlace, configPath: string, options: ProxyOptions) {
    this.ports = place.ports;
    this.stateDirectory = place.stateDirectory;
    this.configPath = configPath;
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get #address(): string {
    return this.#options.host?.address ?? '127.0.0.1';
  }

  async start(): Promise<void> {
    // The kernel kills it when the test's process dies; its workers end when it is gone.
    const program = [process.execPath, this.#options.program ?? CLI, 'run', '--config', this.configPath];
    const command = ['--pdeathsig', 'KILL', '--', ...(this.#options.host?.command(...program) ?? program)];
    const from = this.log.length;
    const child = spawn('setpriv', command, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.#options.env },
    });
    this.#child = child;
    createInterface({ input: child.stdout }).on('line', (line) => this.#receive(line));
    createInterface({ input: child.stderr }).on('line', (line) => (this.output += `${line}\n`));
    child.once('close', (code) => {
      this.#exitCode = code;
      this.#child = null;
    });
    await this.#ready(from);
  }

  async stop(): Promise<number | null> {
    for (const connection of this.#connections.splice(0)) endAtOnce(connection);
    const child = this.#child;
    if (child === null) return this.#exitCode;
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    child.kill('SIGTERM');
    child.kill('SIGCONT');
    const code = await this.ended();
    clearTimeout(timer);
    return code;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async ended(): Promise<number | null> {
    if (this.#child !== null) await once(this.#child, 'close');
    return this.#exitCode;
  }

  async waitForEvent(
    name: string,
    fits: (event: LogEvent) => boolean = () => true,
    timeoutMs = 10_000,
  ): Promise<LogEvent> {
    return this.#event((event) => event.event === name && fits(event), 0, timeoutMs).catch((error: Error) => {
      throw new Error(`${name}: ${error.message}\n${this.#tail()}`, { cause: error });
    });
  }

  async connect(endpoint: Endpoint, options: ConnectionOptions = {}): Promise<Connection> {
    const connection = await createConnection({
      host: this.#address,
      port: this.ports[endpoint],
      user: 'app',
      password: 'app',
      database: 'demo',
      ...options,
    });
    connection.on('error', () => undefined); // a server that ends it is what some tests are about
    this.#connections.push(connection);
    return connection;
  }

  async admin(statement: string): Promise<Record<string, unknown>[]> {
    const connection = await createConnection({
      host: this.#address,
      port: this.ports.admin,
      user: 'admin',
      password: 'admin',
    });
    try {
      const [rows] = await connection.query<RowDataPacket[]>(statement);
      return Array.isArray(rows) ? rows : [];
    } finally {
      endAtOnce(connection);
    }
  }

  async get(path: string): Promise<{ status: number; text: string }> {
    const response = await fetch(`http://${this.#address}:${this.ports.http}${path}`);
    return { status: response.status, text: await response.text() };
  }

  /** @param from Where this start's own events begin in the log. */
  async #ready(from: number): Promise<void> {
    const readyWhen = this.#options.readyWhen ?? 'routing';
    if (readyWhen === 'none') return;
    try {
      await Promise.race([
        this.#event((event) => event.event === 'dbproxy.ready', from, READY_TIMEOUT_MS),
        this.#early(),
      ]);
      for (const path of readyWhen === 'routing' ? ['/health/write', '/health/read'] : []) {
        await eventually(async () => {
          const { status, text } = await this.get(path);
          if (status !== 200) throw new Error(`${path} says ${status}: ${text}`);
        }, READY_TIMEOUT_MS);
      }
    } catch (error) {
      await this.stop();
      throw new Error(`the proxy was not ready: ${(error as Error).message}\n${this.#tail()}`, {
        cause: error,
      });
    }
  }

  /** Rejects when the process ends. */
  async #early(): Promise<never> {
    const code = await this.ended();
    throw new Error(`it ended with ${code}`);
  }

  /** The first event from index `from` on that fits, past or to come. */
  async #event(fits: (event: LogEvent) => boolean, from: number, timeoutMs: number): Promise<LogEvent> {
    const past = this.log.slice(from).find(fits);
    if (past !== undefined) return past;
    const { promise, resolve, reject } = Promise.withResolvers<LogEvent>();
    const arrived = (event: LogEvent): void => {
      if (fits(event)) resolve(event);
    };
    const timer = setTimeout(() => reject(new Error(`no such event within ${timeoutMs} ms`)), timeoutMs);
    this.#arrivals.on('event', arrived);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#arrivals.off('event', arrived);
    }
  }

  #receive(line: string): void {
    try {
      const event = JSON.parse(line) as LogEvent;
      this.log.push(event);
      this.#arrivals.emit('event', event);
    } catch {
      this.output += `${line}\n`;
    }
  }

  #tail(): string {
    const events = this.log.slice(-20).map((event) => JSON.stringify(event));
    return [...events, this.output.slice(-4000)].join('\n');
  }
}
