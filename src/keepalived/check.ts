/**
 * keepalived's question each second: should this host have the virtual addresses? The verdict is pure, over what was
 * asked: the process itself, whether it can route a read, the gateway. A database that is down does not speak against
 * this host: with the other one's dbproxy it would be as far away. Also, whoever cannot be asked for a reason of our own
 * (no program `ping`, a forbidden address) does not count, and is named.
 */
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { formatEndpoint, type Endpoint } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/message-of.ts';
import type { CheckConfig } from '../config/for-check.ts';
import { parseHaconf, type HaconfReading } from './haconf.ts';
import type { ArbiterAnswer } from '../monitor/arbiter-answer.ts';
import { askArbiter } from '../monitor/arbiter.ts';

/** What the HTTP port answered: a status and the first line; null with the reason when it did not answer. */
export type HttpSight = { readonly status: number; readonly line: string } | { readonly silent: string };

/** What a check has seen. */
export interface CheckSight {
  /** GET /health. */
  readonly process: HttpSight;
  /** GET /health/read. */
  readonly read: HttpSight;
  /** Null: none is configured. */
  readonly gateway: ArbiterAnswer | null;
  readonly gatewayName: string;
  /** Null: none is configured. */
  readonly haconf: HaconfReading | null;
}

export interface CheckVerdict {
  readonly isWell: boolean;
  /** One line. */
  readonly why: string;
}

const HTTP_OK = 200;
const HTTP_FORBIDDEN = 403;
/** However long the start took, those who are asked have so long to answer. */
const LEAST_TIME_MS = 400;
const MAX_ANSWER_BYTES = 65_536;

/**
 * 1. Maintenance (haconf): well, nothing moves by itself.
 * 2. Error mode (haconf): not well, the service is to go to the other host.
 * 3. The process does not answer: not well.
 * 4. It does not say whether it can route a read (it hangs): not well.
 * 5. The gateway does not answer: not well; we may be cut off, and the other host may not.
 * 6. It cannot route a read: well, as the other host would have no database either.
 */
export function verdictOf({ haconf, ...sight }: CheckSight): CheckVerdict {
  if (haconf === null) return verdictOfServices(sight);
  if ('problem' in haconf) {
    const { isWell, why } = verdictOfServices(sight);
    return { isWell, why: `${why}; haconf does not count: ${haconf.problem}` };
  }
  const { maintenance, errorMode } = haconf.haconf;
  if (maintenance) return { isWell: true, why: 'maintenance (haconf): nothing is checked' };
  if (errorMode) return { isWell: false, why: 'error mode (haconf): the service goes to the other host' };
  return verdictOfServices(sight);
}

function verdictOfServices({
  process,
  read,
  gateway,
  gatewayName,
}: Omit<CheckSight, 'haconf'>): CheckVerdict {
  if ('silent' in process) return { isWell: false, why: `dbproxy does not answer: ${process.silent}` };
  if ('silent' in read)
    return { isWell: false, why: `dbproxy does not say whether it can route: ${read.silent}` };
  if (gateway?.kind === 'unreachable')
    return { isWell: false, why: `the gateway ${gatewayName} does not answer: ${gateway.reason}` };
  const doubt =
    gateway?.kind === 'broken' ? `; the gateway ${gatewayName} could not be asked: ${gateway.reason}` : '';
  return { isWell: true, why: `${readWords(read)}${doubt}` };
}

function readWords({ status, line }: { readonly status: number; readonly line: string }): string {
  if (status === HTTP_OK) return `well: ${line}`;
  if (status === HTTP_FORBIDDEN) return `well, but it may not be asked for its databases: ${line}`;
  return `well, but no database: ${line}`;
}

/** Asks all at once; ends within `check_timeout` of the start of this process, or a little later if that was slow. */
export async function checkHost(config: CheckConfig, clock: Clock): Promise<CheckVerdict> {
  const leftMs = Math.max(LEAST_TIME_MS, config.timeoutMs - clock.nowMs());
  const { gateway } = config;
  const haconfReading = config.haconf === null ? null : haconfAt(config.haconf, config.instance);
  const door = reachable(config.httpAddress);
  const [process, read, gatewayAnswer] = await Promise.all([
    askHttp(door, '/health', clock, leftMs),
    askHttp(door, '/health/read', clock, leftMs),
    gateway === null ? null : askArbiter({ kind: 'ping', host: gateway }, clock, leftMs),
  ]);
  return verdictOf({
    process,
    read,
    gateway: gatewayAnswer,
    gatewayName: gateway ?? '',
    haconf: haconfReading,
  });
}

/** At once and first: what it orders must not depend on how long others take. */
function haconfAt(path: string, instance: string | null): HaconfReading {
  try {
    return parseHaconf(readFileSync(path, 'utf8'), instance);
  } catch (error) {
    return { problem: messageOf(error) };
  }
}

/** What the process says of itself, by GET /health. */
export function proxySight(config: CheckConfig, clock: Clock): Promise<HttpSight> {
  return askHttp(reachable(config.httpAddress), '/health', clock, config.timeoutMs);
}

/** Who listens on all addresses is asked on the loopback. */
function reachable(address: Endpoint): Endpoint {
  if (address.kind === 'unix') return address;
  if (address.host === '0.0.0.0') return { ...address, host: '127.0.0.1' };
  return address.host === '::' ? { ...address, host: '::1' } : address;
}

/** A request as plain as they come: the whole of an HTTP client would take longer to load than this takes to ask. */
function askHttp(address: Endpoint, path: string, clock: Clock, timeoutMs: number): Promise<HttpSight> {
  return new Promise((resolve) => {
    const socket = net.connect(address.kind === 'unix' ? { path: address.path } : address);
    let text = '';
    const end = (sight: HttpSight): void => {
      timer.cancel();
      socket.destroy();
      resolve(sight);
    };
    const silent = (why: string): void => end({ silent: `${formatEndpoint(address)}: ${why}` });
    const timer = clock.after(timeoutMs, () => silent(`no answer within ${Math.round(timeoutMs)} ms`));
    socket.setEncoding('utf8');
    socket.once('connect', () =>
      socket.write(`GET ${path} HTTP/1.1\r\nHost: dbproxy\r\nConnection: close\r\n\r\n`),
    );
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > MAX_ANSWER_BYTES) silent('its answer does not end');
    });
    socket.once('error', (error) => silent(messageOf(error)));
    socket.once('end', () => {
      const [head, body = ''] = text.split('\r\n\r\n', 2) as [string, string?];
      const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? 0);
      if (status === 0) return silent('what answers there is no HTTP');
      end({ status, line: body.split('\n')[0]! });
    });
  });
}
