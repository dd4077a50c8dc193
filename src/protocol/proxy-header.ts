/**
 * The PROXY protocol: a load balancer's first bytes on a connection, saying where its client comes from.
 * Read in versions 1 (a line of text) and 2 (binary), written in version 2.
 * Specification: haproxy.org/download/2.6/doc/proxy-protocol.txt, sections 2.1 and 2.2.
 *
 * The header comes before anything else, so its absence is told by the first byte that differs. No MySQL
 * client's first packet begins like either version: byte 4, the sequence number, is 1 there.
 */
import { isIP, isIPv4 } from 'node:net';
import { unmapped } from '../base/address.ts';
import { refusal } from '../base/errors.ts';

/** Where a client comes from. */
export interface ProxySource {
  address: string;
  port: number;
}

export type ParsedProxyHeader =
  /** The bytes begin with something else. */
  | { kind: 'none' }
  /** They may be the beginning of a header. */
  | { kind: 'incomplete' }
  /** The header takes `bytes`. `source` is null where the sender speaks for itself, as in its checks. */
  | { kind: 'header'; bytes: number; source: ProxySource | null };

const TEXT_SIGNATURE = Buffer.from('PROXY ');
const BINARY_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** Longest line of version 1, with its end. */
const TEXT_MAX_BYTES = 107;
/** Signature, version and command, family and protocol, length. */
const BINARY_HEAD_BYTES = 16;
/** The specification allows 64 KB of it; what balancers send is far below this. */
const BINARY_MAX_BYTES = 4096;

const VERSION = 0x20;
const Command = { LOCAL: 0x0, PROXY: 0x1 } as const;
/** Address family in the upper four bits, SOCK_STREAM in the lower. */
const Family = { UNSPEC: 0x00, TCP4: 0x11, TCP6: 0x21, UNIX_STREAM: 0x31 } as const;
const IPV4_BYTES = 4;
const IPV6_BYTES = 16;
const PORT_BYTES = 2;

/** Looks for a header at the beginning of a connection. Throws DBPROXY_PROXY_HEADER. */
export function parseProxyHeader(bytes: Buffer): ParsedProxyHeader {
  const text = compareStart(bytes, TEXT_SIGNATURE);
  if (text !== 'other') return text === 'cut' ? { kind: 'incomplete' } : parseText(bytes);
  const binary = compareStart(bytes, BINARY_SIGNATURE);
  if (binary === 'other') return { kind: 'none' };
  return binary === 'cut' || bytes.length < BINARY_HEAD_BYTES ? { kind: 'incomplete' } : parseBinary(bytes);
}

/** Does `bytes` begin with the signature, or with as much of it as there is? */
function compareStart(bytes: Buffer, signature: Buffer): 'same' | 'cut' | 'other' {
  const length = Math.min(bytes.length, signature.length);
  if (bytes.compare(signature, 0, length, 0, length) !== 0) return 'other';
  return length === signature.length ? 'same' : 'cut';
}

/** `PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n`, or `PROXY UNKNOWN …\r\n`. */
function parseText(bytes: Buffer): ParsedProxyHeader {
  const end = bytes.subarray(0, TEXT_MAX_BYTES).indexOf('\r\n');
  if (end === -1) {
    if (bytes.length < TEXT_MAX_BYTES) return { kind: 'incomplete' };
    throw malformed(`the line has no end within ${TEXT_MAX_BYTES} bytes`);
  }
  const header = { kind: 'header', bytes: end + 2 } as const;
  const words = bytes.toString('latin1', TEXT_SIGNATURE.length, end).split(' ');
  if (words[0] === 'UNKNOWN') return { ...header, source: null };
  const [family, source, destination, sourcePort, destinationPort, ...more] = words;
  const version = family === 'TCP4' ? 4 : family === 'TCP6' ? 6 : 0;
  if (version === 0) throw malformed(`'${printable(family)}' is none of TCP4, TCP6 and UNKNOWN`);
  if (isIP(source ?? '') !== version || isIP(destination ?? '') !== version || more.length > 0) {
    throw malformed(`'${printable(words.join(' '))}' are not two addresses and two ports`);
  }
  readPort(destinationPort);
  return { ...header, source: { address: unmapped(source!), port: readPort(sourcePort) } };
}

function readPort(text: string | undefined): number {
  const port = Number(text);
  if (text === undefined || !/^(0|[1-9]\d{0,4})$/.test(text) || port > 0xffff) {
    throw malformed(`'${printable(text)}' is not a port`);
  }
  return port;
}

function parseBinary(bytes: Buffer): ParsedProxyHeader {
  const versionAndCommand = bytes[BINARY_SIGNATURE.length]!;
  const family = bytes[BINARY_SIGNATURE.length + 1]!;
  const length = bytes.readUInt16BE(BINARY_SIGNATURE.length + 2);
  const total = BINARY_HEAD_BYTES + length;
  if ((versionAndCommand & 0xf0) !== VERSION) throw malformed(`version ${versionAndCommand >> 4} is unknown`);
  const command = versionAndCommand & 0x0f;
  if (command > Command.PROXY) throw malformed(`command ${command} is unknown`);
  if (total > BINARY_MAX_BYTES) throw malformed(`it has ${total} bytes; ${BINARY_MAX_BYTES} are the limit`);
  if (bytes.length < total) return { kind: 'incomplete' };
  const header = { kind: 'header', bytes: total } as const;
  // A sender that speaks for itself; the rest of the header means nothing then.
  if (command === Command.LOCAL) return { ...header, source: null };
  return { ...header, source: readSource(family, bytes.subarray(BINARY_HEAD_BYTES, total)) };
}

/** Addresses and ports come first; type-length-value fields may follow and are passed over. */
function readSource(family: number, bytes: Buffer): ProxySource | null {
  switch (family) {
    case Family.TCP4:
      requireBytes(bytes, 2 * IPV4_BYTES + 2 * PORT_BYTES);
      return { address: readIpv4(bytes), port: bytes.readUInt16BE(2 * IPV4_BYTES) };
    case Family.TCP6:
      requireBytes(bytes, 2 * IPV6_BYTES + 2 * PORT_BYTES);
      return { address: readIpv6(bytes), port: bytes.readUInt16BE(2 * IPV6_BYTES) };
    case Family.UNSPEC:
    case Family.UNIX_STREAM:
      return null;
    default:
      throw malformed(`address family and protocol 0x${family.toString(16)} are none that MySQL comes by`);
  }
}

function requireBytes(bytes: Buffer, count: number): void {
  if (bytes.length < count) throw malformed(`its addresses take ${count} bytes and it has ${bytes.length}`);
}

function readIpv4(bytes: Buffer): string {
  return bytes.subarray(0, IPV4_BYTES).join('.');
}

/** In its usual short form, and an IPv4-mapped one as IPv4. */
function readIpv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16));
  const isMapped = groups.slice(0, 5).every((group) => group === '0') && groups[5] === 'ffff';
  if (isMapped) return readIpv4(bytes.subarray(IPV6_BYTES - IPV4_BYTES));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/** Where a connection comes from and leads to; `local`: the sender speaks for itself. */
export type ProxyRoute = { source: ProxySource; destination: ProxySource } | 'local';

/** Writes a header of version 2. */
export function writeProxyHeaderV2(route: ProxyRoute): Buffer {
  if (route === 'local') return binaryHeader(Command.LOCAL, Family.UNSPEC, Buffer.alloc(0));
  const { source, destination } = route;
  const isV4 = isIPv4(unmapped(source.address)) && isIPv4(unmapped(destination.address));
  const addressBytes = isV4 ? IPV4_BYTES : IPV6_BYTES;
  const body = Buffer.alloc(2 * addressBytes + 2 * PORT_BYTES);
  const writeAddress = isV4 ? ipv4Bytes : ipv6Bytes;
  body.set(writeAddress(source.address), 0);
  body.set(writeAddress(destination.address), addressBytes);
  body.writeUInt16BE(source.port, 2 * addressBytes);
  body.writeUInt16BE(destination.port, 2 * addressBytes + PORT_BYTES);
  return binaryHeader(Command.PROXY, isV4 ? Family.TCP4 : Family.TCP6, body);
}

function binaryHeader(command: number, family: number, body: Buffer): Buffer {
  const head = Buffer.alloc(BINARY_HEAD_BYTES);
  head.set(BINARY_SIGNATURE);
  head[BINARY_SIGNATURE.length] = VERSION | command;
  head[BINARY_SIGNATURE.length + 1] = family;
  head.writeUInt16BE(body.length, BINARY_SIGNATURE.length + 2);
  return Buffer.concat([head, body]);
}

function ipv4Bytes(address: string): number[] {
  return unmapped(address).split('.').map(Number);
}

/** One side may be IPv4 where the other is not: then it is mapped. */
function ipv6Bytes(address: string): Buffer {
  const bytes = Buffer.alloc(IPV6_BYTES);
  if (isIPv4(unmapped(address))) {
    bytes.fill(0xff, 10, 12);
    bytes.set(ipv4Bytes(address), 12);
    return bytes;
  }
  // A zone (`%eth0`) is of no use to another host.
  const groups = expandIpv6(address.replace(/%.*$/, ''));
  groups.forEach((group, index) => bytes.writeUInt16BE(group, 2 * index));
  return bytes;
}

function expandIpv6(address: string): number[] {
  const [front = '', back] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const read = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => parseInt(group, 16));
  const [first, last] = [read(front), read(back ?? '')];
  return [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last];
}

function malformed(what: string): Error {
  return refusal('DBPROXY_PROXY_HEADER', what);
}

/** What an unknown peer has sent, fit for a log. */
function printable(text: string | undefined): string {
  return (text ?? '').slice(0, 60).replace(/[^\x20-\x7e]/g, '?');
}
