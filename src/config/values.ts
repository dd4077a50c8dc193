/**
 * The types of values: how each is read from a file and written back, one function a direction.
 */
import { isIP } from 'node:net';
import {
  canonicalAddress,
  formatEndpoint,
  isNetwork,
  parseEndpoint,
  type Endpoint,
} from '../base/address.ts';
import { NO_ARBITER, parseArbiter, splitArbiters } from './arbiter.ts';
import type { ValueType } from './keys.ts';
import { didYouMean } from './suggest.ts';

/** A value as the program uses it. */
export type Value = string | number | boolean | Endpoint | string[];

/** A value, or what is wrong with its text. */
export type Reading = { value: Value } | { problem: string };

/** Longest duration a timer can hold (2^31 - 1 ms), rounded down to hours. */
const MAX_DURATION_MS = 596 * 3_600_000;

const durationUnitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Reads `text` as a value of `type`. References are read as names; whether they exist is checked later. */
export function readValue(text: string, type: ValueType): Reading {
  switch (type.kind) {
    case 'string':
      return readString(text, type);
    case 'path':
      return text === '' ? { problem: 'must be a path' } : { value: text };
    case 'secret':
      return readSecret(text, type);
    case 'integer':
      return readInteger(text, type);
    case 'duration':
      return readDuration(text, type.minMs);
    case 'boolean':
      if (text !== 'on' && text !== 'off') return { problem: `'${text}' is neither on nor off` };
      return { value: text === 'on' };
    case 'choice':
      return readChoice(text, type.values);
    case 'endpoint':
      return readEndpoint(text);
    case 'endpoints':
      return readEndpoints(text);
    case 'networks':
      return readNetworks(text);
    case 'ip':
      return readAddresses(text, type);
    case 'digest':
      return readDigest(text);
    case 'arbiters':
      return readArbiters(text);
    case 'reference':
      return readNames(text, type.many);
  }
}

/** Writes a value as a file would have it. Secrets are never written. */
export function formatValue(value: Value, type: ValueType): string {
  if (type.kind === 'secret') return '********';
  if (type.kind === 'duration' && typeof value === 'number') return formatDuration(value);
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (Array.isArray(value))
    return value.length === 0 && type.kind === 'arbiters' ? NO_ARBITER : value.join(', ');
  return typeof value === 'object' ? formatEndpoint(value) : String(value);
}

/** Writes milliseconds in the largest unit that leaves no fraction: 90000 is `90s`. */
export function formatDuration(valueMs: number): string {
  if (valueMs === 0) return '0s';
  const unit = ['h', 'm', 's'].find((name) => valueMs % durationUnitsMs[name]! === 0) ?? 'ms';
  return `${valueMs / durationUnitsMs[unit]!}${unit}`;
}

function readString(text: string, type: { pattern?: RegExp; looksLike?: string }): Reading {
  if (text === '') return { problem: 'must not be empty' };
  if (type.pattern === undefined || type.pattern.test(text)) return { value: text };
  return { problem: `'${text}' is not ${type.looksLike ?? 'what it should be'}` };
}

/** Never says the secret itself in a problem. */
function readSecret(text: string, type: { pattern?: RegExp; looksLike?: string }): Reading {
  if (type.pattern && !type.pattern.test(text))
    return { problem: `does not look like ${type.looksLike ?? 'it should'}` };
  return { value: text };
}

function readInteger(text: string, type: { min: number; max: number; word?: string }): Reading {
  if (type.word !== undefined && text === type.word) return { value: text };
  const value = Number(text);
  if (/^\d{1,15}$/.test(text) && value >= type.min && value <= type.max) return { value };
  const word = type.word === undefined ? '' : ` or ${type.word}`;
  return { problem: `'${text}' is not a whole number from ${type.min} to ${type.max}${word}` };
}

/** Reads `250ms`, `10s`, `5m`, `1h`; also for values that the admin port is given. */
export function readDuration(text: string, minMs: number): { value: number } | { problem: string } {
  const match = /^(\d{1,12})(ms|s|m|h)$/.exec(text);
  if (!match) {
    const forgotten = /^\d+$/.test(text) ? ` (a unit is missing: ${text}s? ${text}ms?)` : '';
    return { problem: `'${text}' is not a duration such as 250ms, 10s, 5m or 1h${forgotten}` };
  }
  const value = Number(match[1]) * durationUnitsMs[match[2]!]!;
  if (value < minMs) return { problem: `'${text}' is below the least, ${formatDuration(minMs)}` };
  if (value > MAX_DURATION_MS)
    return { problem: `'${text}' is above the most, ${formatDuration(MAX_DURATION_MS)}` };
  return { value };
}

function readChoice(text: string, values: readonly string[]): Reading {
  if (values.includes(text)) return { value: text };
  return { problem: `'${text}' is none of ${values.join(', ')}${didYouMean(text, values)}` };
}

function readEndpoint(text: string): Reading {
  const endpoint = parseEndpoint(text);
  if (endpoint !== undefined && (endpoint.kind === 'unix' || isHost(endpoint.host)))
    return { value: endpoint };
  const hint = text.startsWith('*:') ? ' (for all addresses write 0.0.0.0 or [::])' : '';
  return { problem: `'${text}' is not an address; write host:port, [v6]:port or unix:/path${hint}` };
}

function readEndpoints(text: string): Reading {
  const endpoints = text.split(',').map((part) => part.trim());
  for (const one of endpoints) {
    const reading = readEndpoint(one);
    if ('problem' in reading) return reading;
  }
  return { value: endpoints };
}

function readDigest(text: string): Reading {
  if (/^0x[0-9a-f]{16}$/i.test(text)) return { value: text.toLowerCase() };
  return {
    problem: `'${text}' is not 0x and 16 hexadecimal digits; SHOW DIGESTS on the admin port has them`,
  };
}

/** An IP address or a host name. Digits and dots alone must be an address, so a mistyped one is found. */
function isHost(host: string): boolean {
  if (isIP(host) !== 0) return true;
  return (
    /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*$/.test(host) &&
    !/^[\d.]+$/.test(host)
  );
}

function readNetworks(text: string): Reading {
  const networks = text.split(',').map((part) => part.trim());
  const wrong = networks.find((network) => !isNetwork(network));
  if (wrong === undefined) return { value: networks };
  return { problem: `'${wrong}' is not an address or network such as 10.0.0.0/8 or ::1` };
}

/** IP addresses, each in its one usual form, so that they can be compared as texts. */
function readAddresses(text: string, type: { many: boolean; prefix: boolean }): Reading {
  const addresses: string[] = [];
  for (const part of type.many ? text.split(',').map((each) => each.trim()) : [text]) {
    const [host, prefix, ...more] = part.split('/') as [string, ...string[]];
    const family = isIP(host);
    const usual = type.prefix ? 'an address and its prefix such as 10.0.0.100/24' : 'an IP address';
    if (family === 0 || more.length > 0 || (prefix !== undefined && !type.prefix))
      return { problem: `'${part}' is not ${usual}` };
    const longest = family === 4 ? 32 : 128;
    if (
      type.prefix &&
      (prefix === undefined || !/^\d{1,3}$/.test(prefix) || Number(prefix) > longest || Number(prefix) === 0)
    )
      return { problem: `'${part}' has no prefix from 1 to ${longest}; write ${usual}` };
    addresses.push(canonicalAddress(host) + (type.prefix ? `/${Number(prefix)}` : ''));
  }
  const bare = addresses.map((address) => address.split('/')[0]!);
  const twin = bare.find((address, index) => bare.indexOf(address) !== index);
  if (twin !== undefined) return { problem: `'${twin}' is given twice` };
  return { value: type.many ? addresses : addresses[0]! };
}

function readArbiters(text: string): Reading {
  if (text === NO_ARBITER) return { value: [] };
  const arbiters = splitArbiters(text);
  for (const arbiter of arbiters) {
    const parsed = parseArbiter(arbiter);
    if ('problem' in parsed) return parsed;
  }
  if (arbiters.filter((arbiter) => arbiter.startsWith('etcd:')).length > 1)
    return { problem: 'there is more than one etcd; its members are one list: etcd:URL,URL' };
  const twin = arbiters.find((arbiter, index) => arbiters.indexOf(arbiter) !== index);
  return twin === undefined ? { value: arbiters } : { problem: `'${twin}' is given twice` };
}

function readNames(text: string, many: boolean): Reading {
  const names = many ? text.split(',').map((part) => part.trim()) : [text];
  if (names.some((name) => name === '')) return { problem: 'has an empty name in it' };
  return { value: many ? names : text };
}
