/**
 * The embedded demo: what a newcomer gets from `npm start`. Two real servers as a pair, a proxy.conf for
 * them, and a few lines on how to connect. The proxy itself is started by the caller.
 *
 * Everything lives in one folder. A second start finds the pair there as it was, promotions included: the servers are
 * started, and all the rest, as after any stop or crash of theirs, is dbproxy's.
 */
import { messageOf } from '../base/message-of.ts';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import type { Clock, Timer } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import { loadConfig } from '../config/load.ts';
import { grantStatements, semiSyncTimeoutMs, setupWordsOf } from '../monitor/flavour/setup.ts';
import { bootstrap } from '../setup/bootstrap.ts';
import type { SetupWorld } from '../setup/world.ts';
import { makeCertificate } from '../setup/certificate.ts';
import { stopLeftover, type DatabaseServer } from './database-server.ts';
import { applicationSql, PAIR_ACCOUNTS, startPair } from './pair.ts';

/** The addresses of the demo, all on 127.0.0.1. */
export const DEMO_PORTS = {
  write: 6446,
  read: 6447,
  split: 6450,
  admin: 6032,
  http: 9104,
  db1: 33061,
  db2: 33062,
} as const;

/** Long enough to look around while a server is gone. */
const COMEBACK_DELAY_MS = 10_000;

const CERTIFICATE_FILE = 'certificate.pem';
const KEY_FILE = 'key.pem';
const CERTIFICATE_DAYS = 3650;
const DAY_MS = 86_400_000;

const SERVER_NAMES = ['db1', 'db2'] as const;

/** What dbproxy gives the first primary that it sees. */
const FIRST_EPOCH = 1;

export interface DemoOptions {
  directory: string;
  clock: Clock;
  /** Says in a line what is being done or has happened. */
  say: (line: string) => void;
}

export interface Demo {
  readonly configPath: string;
  /** How to connect, to be shown once the proxy is up. */
  readonly banner: string;
  stop(): Promise<void>;
}

/** Starts the two servers and writes the configuration. Refuses when a port is taken. */
export async function startDemo(options: DemoOptions): Promise<Demo> {
  const directory = resolve(options.directory);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  refuseSecondDemo(directory);
  const servers = SERVER_NAMES.map((name) => join(directory, name));
  await Promise.all(servers.map((server) => stopLeftover(server, options.clock)));
  for (const [user, port] of Object.entries(DEMO_PORTS)) await refuseTakenPort(port, user);
  await writeFile(pidPath(directory), `${process.pid}\n`);

  await keepCertificate(directory, options.clock);
  const configPath = join(directory, 'proxy.conf');
  await writeFile(configPath, demoConfig(directory), { mode: 0o600 });
  options.say('starting two MariaDB servers, db1 and db2');
  const comeback = new Comeback(options);
  const pair = await startPair({
    directory,
    names: SERVER_NAMES,
    ports: [DEMO_PORTS.db1, DEMO_PORTS.db2],
    clock: options.clock,
    semiSyncTimeoutMs: semiSyncTimeoutMs('require'),
    sql: applicationSql(),
    setUp: (servers) => setUp(servers, configPath, options),
    onCrash: (server, how) => comeback.ended(server, how),
  });
  const primary = await primaryOf(pair.servers);
  return {
    configPath,
    banner: bannerFor(pair.servers, primary, configPath),
    async stop() {
      comeback.cancel();
      await pair.stop();
      await rm(pidPath(directory), { force: true });
    },
  };
}

/**
 * Makes a cluster of the two new servers the way an operator would, by BOOTSTRAP; only that there is no proxy yet
 * to say it to, and so nobody to remember who the primary is: dbproxy sees that when it starts.
 */
async function setUp(
  servers: readonly [DatabaseServer, DatabaseServer],
  configPath: string,
  { clock, say }: DemoOptions,
): Promise<void> {
  const config = loadConfig(configPath, process.env);
  const [primary] = servers;
  // root comes in over the servers' own sockets.
  const backends = config.backends.map((backend) => {
    const { socketPath } = servers.find(({ name }) => name === backend.name)!;
    return { ...backend, address: { kind: 'unix' as const, path: socketPath } };
  });
  const world: SetupWorld = {
    clock,
    rememberedPrimary: () => null,
    epoch: () => FIRST_EPOCH,
    recordPromotion: async () => FIRST_EPOCH,
    rwWeight: (name) => Number(name === primary.name),
    checkNow: async () => true,
    rejudge: () => undefined,
    onReport: () => undefined,
    onProgress: () => undefined,
  };
  const reports = await bootstrap(world, {
    cluster: config.clusters[0]!,
    backends,
    primary: primary.name,
    dryRun: false,
    account: { monitorUser: 'root', monitorPassword: '' },
  });
  say(`BOOTSTRAP CLUSTER demo PRIMARY ${primary.name}: ${reports.length} steps`);
  for (const sql of rejoinGrants()) await primary.query(sql);
}

/** So that REJOIN can undo, or make again, what an old primary alone has of the application's data. */
function rejoinGrants(): string[] {
  const { rejoinPrivileges } = setupWordsOf('10.11.0-MariaDB', () => false);
  const onTables = rejoinPrivileges.onTables.map((privilege) => ({ ...privilege, on: 'demo.*' }));
  return grantStatements([...rejoinPrivileges.onServer, ...onTables], PAIR_ACCOUNTS.monitor.user);
}

/** Who the servers say is the primary: the one of the last epoch that any of them knows. */
async function primaryOf(servers: readonly [DatabaseServer, DatabaseServer]): Promise<DatabaseServer> {
  const answers = await Promise.all(
    servers.map((server) => server.query('select epoch, backend from dbproxy.epoch').catch(() => [])),
  );
  const epochs = answers.flat().map((row) => ({ epoch: Number(row['epoch']), name: row['backend'] }));
  const last = epochs.reduce((one, other) => (other.epoch > one.epoch ? other : one), { epoch: 0, name: '' });
  return servers.find(({ name }) => name === last.name) ?? servers[0];
}

/** A self-signed certificate for this machine, made at the first start. */
async function keepCertificate(directory: string, clock: Clock): Promise<void> {
  const certPath = join(directory, CERTIFICATE_FILE);
  if (existsSync(certPath)) return;
  const nowMs = clock.wallMs();
  const { cert, key } = makeCertificate({
    commonName: 'dbproxy demo',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1', '::1'],
    notBefore: new Date(nowMs - DAY_MS),
    notAfter: new Date(nowMs + CERTIFICATE_DAYS * DAY_MS),
  });
  await writeFile(join(directory, KEY_FILE), key, { mode: 0o600 });
  // The certificate last: where it is, there is its key.
  await writeFile(certPath, cert);
}

/** The configuration of the demo; also a small example of the format. */
export function demoConfig(directory: string): string {
  const { application, monitor, replication } = PAIR_ACCOUNTS;
  return `# Written by the demo at each start: changes here are lost. Copy it to proxy.conf to keep them.

[dbproxy]
state_dir = ${join(directory, 'state')}
shutdown_timeout = 3s

[admin]
address = 127.0.0.1:${DEMO_PORTS.admin}
user = admin
password = admin

[http]
address = 127.0.0.1:${DEMO_PORTS.http}

[cluster demo]
monitor_user = ${monitor.user}
monitor_password = ${monitor.password}
replication_user = ${replication.user}
replication_password = ${replication.password}
semi_sync = require

[backend db1]
cluster = demo
address = 127.0.0.1:${DEMO_PORTS.db1}
rw_weight = 1

[backend db2]
cluster = demo
address = 127.0.0.1:${DEMO_PORTS.db2}
rw_weight = 1

[listener write]
cluster = demo
address = 127.0.0.1:${DEMO_PORTS.write}
mode = write
tls = preferred
tls_cert = ${join(directory, CERTIFICATE_FILE)}
tls_key = ${join(directory, KEY_FILE)}

[listener read]
cluster = demo
address = 127.0.0.1:${DEMO_PORTS.read}
mode = read
tls = preferred
tls_cert = ${join(directory, CERTIFICATE_FILE)}
tls_key = ${join(directory, KEY_FILE)}

[listener split]
cluster = demo
address = 127.0.0.1:${DEMO_PORTS.split}
mode = split
pool = transaction
causal_reads = session
tls = preferred
tls_cert = ${join(directory, CERTIFICATE_FILE)}
tls_key = ${join(directory, KEY_FILE)}

# Users are the accounts of the servers (users = import): ${application.user} is one of them.
`;
}

function bannerFor(servers: readonly DatabaseServer[], primary: DatabaseServer, configPath: string): string {
  const { user, password } = PAIR_ACCOUNTS.application;
  const client = (port: number): string => `mariadb -h127.0.0.1 -P${port} -u${user} -p${password} demo`;
  const admin = `npm run -s dbproxy -- admin --config ${configPath}`;
  const replica = servers.find((server) => server !== primary)!;
  const list = servers.map(
    (server) => `${server.name} 127.0.0.1:${server.port} (${server === primary ? 'primary' : 'replica'})`,
  );
  return [
    '',
    'The dbproxy demo is ready. Ctrl-C stops it and all that it started.',
    '',
    `  write    ${client(DEMO_PORTS.write)}`,
    `  read     ${client(DEMO_PORTS.read)}`,
    `  split    ${client(DEMO_PORTS.split)}`,
    `  look     ${admin} 'SHOW BACKENDS'`,
    `  explain  ${admin} 'EXPLAIN ROUTE select 1'   (where a statement on the split endpoint would go)`,
    `  promote  ${admin} 'PROMOTE ${replica.name}'`,
    `  admin    mariadb -h127.0.0.1 -P${DEMO_PORTS.admin} -uadmin -padmin`,
    `  http     curl http://127.0.0.1:${DEMO_PORTS.http}/health/write   (also /health/read, /metrics)`,
    `  servers  ${list.join(', ')}; logs in ${join(configPath, '..')}/*/log`,
    '',
  ].join('\n');
}

/**
 * A server of the demo that ends is started again after a while, so that one can watch dbproxy meanwhile. No more than
 * that: what it is then, dbproxy finds out.
 */
class Comeback {
  readonly #options: DemoOptions;
  readonly #timers = new Set<Timer>();

  constructor(options: DemoOptions) {
    this.#options = options;
  }

  ended(server: DatabaseServer, how: string): void {
    const { clock, say } = this.#options;
    const after = `it is started again in ${COMEBACK_DELAY_MS / 1000} s`;
    say(`server ${server.name} has ended (${how}); ${after}; its log is ${server.logPath}`);
    const timer = clock.after(COMEBACK_DELAY_MS, () => {
      this.#timers.delete(timer);
      void this.#restart(server);
    });
    this.#timers.add(timer);
  }

  cancel(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  async #restart(server: DatabaseServer): Promise<void> {
    const { say } = this.#options;
    try {
      await server.start();
      say(`server ${server.name} is back, read-only`);
    } catch (error) {
      const reason = messageOf(error);
      say(`server ${server.name} could not be started again: ${reason}; its log is ${server.logPath}`);
    }
  }
}

function refuseSecondDemo(directory: string): void {
  const pid = runningDemo(directory);
  if (pid !== null) throw refusal('DBPROXY_DEMO_RUNNING', directory, pid);
}

/** The process that runs a demo on this folder now. */
function runningDemo(directory: string): number | null {
  try {
    const pid = Number(readFileSync(pidPath(directory), 'utf8').trim());
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    const isDemo = command.includes('demo') || command.includes('start');
    return isDemo && pid !== process.pid ? pid : null;
  } catch {
    return null;
  }
}

function pidPath(directory: string): string {
  return join(directory, 'pid');
}

function refuseTakenPort(port: number, user: string): Promise<void> {
  const { promise, resolve: free, reject } = Promise.withResolvers<void>();
  const trial = createServer();
  trial.once('error', (error: NodeJS.ErrnoException) => {
    reject(error.code === 'EADDRINUSE' ? refusal('DBPROXY_PORT_IN_USE', port, `the demo's ${user}`) : error);
  });
  trial.listen(port, '127.0.0.1', () => trial.close(() => free()));
  return promise;
}
