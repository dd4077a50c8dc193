/** A real etcd of one member on free ports, for one test file: it dies with the test's process. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { connectEtcd } from '../../src/monitor/etcd.ts';
import { eventually } from '../support/eventually.ts';
import { freePorts } from './ports.ts';

export interface EtcdServer {
  readonly url: string;
  /** As the configuration names it. */
  readonly arbiter: string;
  signal(signal: NodeJS.Signals): void;
  /** Starts it again, with all it had. */
  start(): Promise<void>;
  /** Ends it at once. */
  kill(): Promise<void>;
}

/** Starts one, with its data in `directory`. */
export async function startEtcd(directory: string): Promise<EtcdServer> {
  const [client, peer] = await freePorts(2);
  const url = `http://127.0.0.1:${client}`;
  const peerUrl = `http://127.0.0.1:${peer}`;
  const options = {
    name: 'third',
    'data-dir': join(directory, 'etcd'),
    'listen-client-urls': url,
    'advertise-client-urls': url,
    'listen-peer-urls': peerUrl,
    'initial-advertise-peer-urls': peerUrl,
    'initial-cluster': `third=${peerUrl}`,
    'log-level': 'error',
  };
  const words = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  let running: ChildProcess | null = null;
  process.once('exit', () => running?.kill('SIGKILL'));

  const server: EtcdServer = {
    url,
    arbiter: `etcd:${url}`,
    signal: (signal) => void running?.kill(signal),
    async start() {
      running = spawn('etcd', words, { stdio: 'ignore' });
      const failed = once(running, 'error').then(([error]) => Promise.reject(error as Error));
      failed.catch(() => undefined);
      const etcd = connectEtcd({ urls: [url], timeoutMs: 1_000, clock: systemClock });
      const answers = eventually(() => etcd.transact({ compare: [], put: [], read: ['a'] }), 20_000);
      await Promise.race([answers, failed]).finally(() => etcd.close());
    },
    async kill() {
      if (running === null) return;
      const ended = once(running, 'exit');
      running.kill('SIGKILL');
      running = null;
      await ended;
    },
  };
  await server.start();
  return server;
}
