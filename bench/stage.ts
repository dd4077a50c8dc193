/**
 * The stage: two real servers, HAProxy and dbproxy in front of them, and a table to read. All three ways
 * lead to the same servers: the write endpoint to the primary, the read endpoint to the replica. Everything
 * is on 127.0.0.1, on free ports, in one temporary folder, and dies with this process.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '../src/base/clock.ts';
import { makeCertificate } from '../src/setup/certificate.ts';
import { startPair, type Lab } from '../test/lab/pair.ts';
import { freePorts } from '../test/lab/ports.ts';
import { eventually } from '../test/support/eventually.ts';
import type { Endpoint } from './load.ts';
import { processTree } from './processes.ts';
import type { Target } from './report.ts';
import { runSysbench } from './sysbench.ts';

/** Threads of HAProxy and workers of dbproxy: the goals are for two cores. */
export const PARALLELISM = 2;

/** Clients of the largest load, for each target, and some to spare. */
const SERVER_CONNECTIONS = 1000;
const BACKEND_CONNECTIONS = 400;

/**
 * The split endpoint as for many clients on few cores: the primary, too, has its share of the reads, as HAProxy
 * gives it, and short reads share connections.
 */
const SPLIT = { pool: 'transaction', pipelining: 'on' };
const SERVER_OPTIONS = [
  `--max-connections=${SERVER_CONNECTIONS}`,
  `--back-log=${SERVER_CONNECTIONS}`,
  '--innodb-buffer-pool-size=128M',
];

const PREPARE_CLIENTS = 1;
const CATCH_UP_SECONDS = 30;
const DAY_MS = 86_400_000;

export interface Stage {
  /** Where a client connects, by target and endpoint. */
  readonly ports: Readonly<Record<Target, Readonly<Record<Endpoint, number>>>>;
  /** The processes of a target's proxy; none for direct. */
  processes(target: Target): number[];
  stop(): Promise<void>;
}

/** Starts everything; on failure nothing is left running. */
export async function openStage(signal: AbortSignal): Promise<Stage> {
  const lab = await startPair({ serverOptions: SERVER_OPTIONS });
  let haproxy: HaproxyProcess | null = null;
  const stop = async (): Promise<void> => {
    await haproxy?.stop();
    await lab.stop();
  };
  try {
    signal.throwIfAborted();
    await makeTable(lab, signal);
    const certificate = keepCertificate(lab);
    const running = await startHaproxy(lab, certificate);
    haproxy = running;
    const dbproxy = await lab.startProxy({ workers: PARALLELISM, config: proxySections(certificate) });
    signal.throwIfAborted();
    return {
      ports: {
        direct: {
          write: lab.db1.port,
          read: lab.db2.port,
          tls: lab.db1.port,
          split: lab.db2.port,
          mixed: lab.db1.port,
        },
        haproxy: running.ports,
        dbproxy: {
          write: dbproxy.ports.write,
          read: dbproxy.ports.read,
          tls: dbproxy.ports.write,
          split: dbproxy.ports.split,
          mixed: dbproxy.ports.split,
        },
      },
      processes(target) {
        switch (target) {
          case 'direct':
            return [];
          case 'haproxy':
            return processTree(running.pid);
          case 'dbproxy':
            if (dbproxy.pid === undefined) throw new Error(`dbproxy has ended\n${dbproxy.output}`);
            return processTree(dbproxy.pid);
        }
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Files of one certificate for both proxies; HAProxy wants it and its key in one file. */
interface CertificatePaths {
  cert: string;
  key: string;
  both: string;
}

function keepCertificate(lab: Lab): CertificatePaths {
  const path = (name: string): string => join(lab.directory, name);
  const paths = {
    cert: path('certificate.pem'),
    key: path('key.pem'),
    both: path('certificate-and-key.pem'),
  };
  const nowMs = systemClock.wallMs();
  const { cert, key } = makeCertificate({
    commonName: 'dbproxy bench',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    notBefore: new Date(nowMs - DAY_MS),
    notAfter: new Date(nowMs + DAY_MS),
  });
  writeFileSync(paths.cert, cert);
  writeFileSync(paths.key, key);
  writeFileSync(paths.both, `${cert}\n${key}`);
  return paths;
}

/** What differs from the tests' configuration: checks as often as by default, room for all clients, TLS. */
function proxySections(certificate: CertificatePaths): Record<string, Record<string, string | number>> {
  const room = { max_connections: BACKEND_CONNECTIONS };
  return {
    'cluster main': { check_interval: '1s', check_fast_interval: '250ms', check_timeout: '1s' },
    'backend db1': { ...room, ro_weight: 1 },
    'backend db2': room,
    'listener split': SPLIT,
    'listener write': { tls: 'preferred', tls_cert: certificate.cert, tls_key: certificate.key },
  };
}

/** Makes sysbench's table on the primary, and waits until the replica has it. */
async function makeTable(lab: Lab, signal: AbortSignal): Promise<void> {
  const place = { port: lab.db1.port, clients: PREPARE_CLIENTS, seconds: 1, options: [] };
  await runSysbench({ ...place, script: 'oltp_read_write', command: 'prepare' }, signal);
  const [row] = await lab.db1.query('select @@gtid_binlog_pos as position');
  const position = String(row?.['position']);
  const [answer] = await lab.db2.query(`select master_gtid_wait('${position}', ${CATCH_UP_SECONDS}) as late`);
  if (Number(answer?.['late']) !== 0) throw new Error('the replica did not get the table in time');
}

type HaproxyPorts = Omit<Record<Endpoint, number>, 'mixed'>;

interface HaproxyProcess {
  readonly pid: number;
  readonly ports: Record<Endpoint, number>;
  stop(): Promise<void>;
}

async function startHaproxy(lab: Lab, certificate: CertificatePaths): Promise<HaproxyProcess> {
  const [write, read, tls, split] = (await freePorts(4)) as [number, number, number, number];
  const configPath = join(lab.directory, 'haproxy.cfg');
  writeFileSync(configPath, haproxyConfig({ write, read, tls, split }, lab, certificate));
  const program = ['--pdeathsig', 'KILL', '--', 'haproxy', '-db', '-f', configPath];
  const child = spawn('setpriv', program, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` },
  });
  let complaints = '';
  child.stderr.on('data', (chunk: Buffer) => (complaints = (complaints + chunk.toString()).slice(-2000)));
  try {
    await eventually(async () => {
      if (child.exitCode !== null) return;
      await Promise.all([write, read, tls, split].map(tryConnect));
    });
    if (child.exitCode !== null) throw new Error(`it ended with exit code ${child.exitCode}`);
  } catch (error) {
    await endOf(child);
    throw new Error(`HAProxy does not run: ${String(error)}\n${complaints}`, { cause: error });
  }
  return { pid: child.pid!, ports: { write, read, tls, split, mixed: write }, stop: () => endOf(child) };
}

/** Plain forwarding, as one would write it: its checks are connects, its buffers the default ones. */
function haproxyConfig(ports: HaproxyPorts, lab: Lab, certificate: CertificatePaths): string {
  return `global
  nbthread ${PARALLELISM}
  maxconn 4000

defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  option clitcpka
  option srvtcpka

listen write
  bind 127.0.0.1:${ports.write}
  server db1 127.0.0.1:${lab.db1.port} check inter 1s

listen read
  bind 127.0.0.1:${ports.read}
  server db2 127.0.0.1:${lab.db2.port} check inter 1s

listen split
  bind 127.0.0.1:${ports.split}
  balance roundrobin
  server db1 127.0.0.1:${lab.db1.port} check inter 1s
  server db2 127.0.0.1:${lab.db2.port} check inter 1s

listen tls
  bind 127.0.0.1:${ports.tls} ssl crt ${certificate.both}
  server db1 127.0.0.1:${lab.db1.port} check inter 1s
`;
}

async function tryConnect(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
  } finally {
    socket.destroy();
  }
}

async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
