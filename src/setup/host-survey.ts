/**
 * Looks at this host as one of a pair, for `dbproxy doctor`; changes nothing. What is found is judged in `host-rules`.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock } from '../base/clock.ts';
import { parseArbiter } from '../config/arbiter.ts';
import type { ProxyConfig } from '../config/config.ts';
import { vipAddress } from '../config/virtual-addresses.ts';
import type { ArbiterAnswer } from '../monitor/arbiter-answer.ts';
import { askArbiter } from '../monitor/arbiter.ts';
import type { PeerSight } from '../topology/peer-sight.ts';
import {
  compareKeepalived,
  readArping,
  readRestart,
  type Answered,
  type HostSurvey,
  type KeepalivedFile,
  type OrdersSight,
  type PairSurvey,
  type VipAnswer,
} from './host-rules.ts';

/** What only the command line knows of this host. */
export interface HostQuestions {
  readonly configPath: string;
  /** What keepalived.conf should be on this host; rejects with the reason where that cannot be told. */
  readonly keepalivedText: () => Promise<string>;
  /** What haconf says; never rejects. */
  readonly orders: () => Promise<OrdersSight | null>;
  /** Of this program. */
  readonly version: string;
  /** What the other dbproxy of the pair says; never rejects. */
  readonly peer: () => Promise<PeerSight | null>;
  /** Ask the network, by ARP, who has the virtual addresses. */
  readonly probesVips: boolean;
  /** Where keepalived's own files are. */
  readonly keepalivedConf?: string;
  readonly keepalivedPid?: string;
}

const KEEPALIVED_CONF = '/etc/keepalived/keepalived.conf';
/** As its Debian package has it. */
const KEEPALIVED_PID = '/run/keepalived.pid';
const PROGRAM_TIMEOUT_MS = 5_000;
const ASK_TIMEOUT_MS = 1_000;
/** Debian has some programs where the path of users does not lead. */
const SYSTEM_PATH = '/usr/sbin:/sbin';

/** Never rejects. */
export async function surveyHost(
  config: Pick<ProxyConfig, 'clusters' | 'keepalived'>,
  questions: HostQuestions,
  clock: Clock,
): Promise<HostSurvey> {
  const arbiters = config.clusters.map(async ({ name, arbiter }): Promise<[string, Answered[]]> => {
    return [name, await Promise.all(arbiter.map((one) => askByName(one, clock)))];
  });
  const peer = questions.peer();
  return {
    version: questions.version,
    peer: await peer,
    arbiters: new Map(await Promise.all(arbiters)),
    pair: config.keepalived.vip.length === 0 ? null : await surveyPair(config, questions, clock),
  };
}

async function surveyPair(
  { keepalived }: Pick<ProxyConfig, 'keepalived'>,
  questions: HostQuestions,
  clock: Clock,
): Promise<PairSurvey> {
  const own = Object.entries(networkInterfaces()).map(([name, addresses = []]) => ({
    name,
    addresses: addresses.map(({ address }) => address),
  }));
  const isOwn = (address: string): boolean => own.some(({ addresses }) => addresses.includes(address));
  const interfaceName = keepalived.interface!;
  const strange = keepalived.hosts.filter((address) => !isOwn(address));
  const foreign = keepalived.vip.map(vipAddress).filter((address) => !isOwn(address));
  const probes = questions.probesVips;
  const [gateway, others, installed, running, restart, file, orders, vips] = await Promise.all([
    keepalived.gateway === undefined ? null : ping(keepalived.gateway, clock),
    Promise.all(
      strange.map(async (address) => {
        const arp = probes ? await probeArp(interfaceName, address) : null;
        return { ...(await ping(address, clock)), mac: arp?.kind === 'taken' ? arp.mac : null };
      }),
    ),
    hasProgram('keepalived'),
    runs(questions.keepalivedPid ?? KEEPALIVED_PID),
    restartOf('keepalived'),
    lookAtFile(questions),
    questions.orders(),
    Promise.all(probes ? foreign.map(async (vip) => [vip, await probeArp(interfaceName, vip)] as const) : []),
  ]);
  return {
    configPath: questions.configPath,
    interfaceName,
    interfaces: own.map(({ name }) => name),
    gateway,
    others,
    installed,
    running,
    restart,
    file,
    orders,
    vips: new Map(vips),
  };
}

async function askByName(name: string, clock: Clock): Promise<Answered> {
  const arbiter = parseArbiter(name);
  if ('problem' in arbiter) return { name, answer: { kind: 'broken', reason: arbiter.problem } };
  if (arbiter.kind === 'etcd') return { name, answer: await knock(arbiter.urls, clock) };
  return { name, answer: await askArbiter(arbiter, clock, ASK_TIMEOUT_MS) };
}

/** Whether one of the members of an etcd is to be reached; what it says is between it and the dbproxy that runs. */
async function knock(urls: readonly string[], clock: Clock): Promise<ArbiterAnswer> {
  const answers = await Promise.all(
    urls.map((url) => {
      const { hostname, port, protocol } = new URL(url);
      const host = hostname.replace(/^\[(.*)\]$/, '$1');
      const byDefault = protocol === 'https:' ? 443 : 80;
      return askArbiter(
        { kind: 'tcp', host, port: port === '' ? byDefault : Number(port) },
        clock,
        ASK_TIMEOUT_MS,
      );
    }),
  );
  return answers.find(({ kind }) => kind === 'reachable') ?? answers[0]!;
}

async function ping(host: string, clock: Clock): Promise<Answered> {
  return { name: host, answer: await askArbiter({ kind: 'ping', host }, clock, ASK_TIMEOUT_MS) };
}

async function lookAtFile(questions: HostQuestions): Promise<KeepalivedFile> {
  const path = questions.keepalivedConf ?? KEEPALIVED_CONF;
  let wanted: string;
  try {
    wanted = await questions.keepalivedText();
  } catch (error) {
    return { kind: 'unknown', reason: error instanceof Error ? error.message : String(error) };
  }
  try {
    return compareKeepalived(path, await readFile(path, 'utf8'), wanted);
  } catch (error) {
    return { kind: (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'missing' : 'unreadable', path };
  }
}

/** A process id in its file, of a process that is there; who may not send it a signal has seen it, too. */
async function runs(pidFile: string): Promise<boolean> {
  try {
    process.kill(Number(await readFile(pidFile, 'utf8')), 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Whether, and when, systemd starts a service again; null where it does not know it. */
async function restartOf(unit: string): Promise<string | null> {
  const { status, output } = await run('systemctl', ['show', '-p', 'LoadState,Restart', unit]);
  return readRestart(status, output);
}

/** A program that is there and does not know `--version` is there as well. */
async function hasProgram(name: string): Promise<boolean> {
  const { missing } = await run(name, ['--version']);
  return !missing;
}

async function probeArp(interfaceName: string, address: string): Promise<VipAnswer> {
  if (!isIPv4(address)) return { kind: 'unasked', reason: 'ARP is for IPv4' };
  const { status, output, missing } = await run('arping', [
    '-D',
    '-c',
    '2',
    '-w',
    '2',
    '-I',
    interfaceName,
    address,
  ]);
  if (missing) return { kind: 'unasked', reason: 'arping is not installed (apt-get install iputils-arping)' };
  return readArping(status, output);
}

function run(
  program: string,
  words: readonly string[],
): Promise<{ status: number | null; output: string; missing: boolean }> {
  const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:${SYSTEM_PATH}`, LC_ALL: 'C' };
  return new Promise((resolve) => {
    const child = execFile(program, words, { env, timeout: PROGRAM_TIMEOUT_MS }, (error, stdout, stderr) => {
      const missing = error !== null && 'code' in error && String(error.code) === 'ENOENT';
      resolve({ status: child.exitCode, output: `${stdout}\n${stderr}`, missing });
    });
  });
}
