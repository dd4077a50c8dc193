/**
 * The connection to the other dbproxy of a pair: its admin port, the account of the two, one statement at a time. A
 * question that is not answered in time breaks it; the next one makes a new one.
 */
import { formatEndpoint, parseEndpoint, type Endpoint } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { ownAddresses } from '../base/own-addresses.ts';
import type { AdminConfig, PeerConfig } from '../config/config.ts';
import { canonicalAddress } from '../base/address.ts';
import { ControlConnection } from '../monitor/connection.ts';

/** What asks the other one. */
export interface PeerLink {
  /** The other's address, for people. */
  readonly address: string;
  /** Says it and answers the answer; rejects when there is none in time, or nobody is there. */
  ask(message: string, timeoutMs: number): Promise<string>;
  close(): void;
}

/** The link of this configuration. */
export function openPeerLink(peer: PeerConfig, admin: AdminConfig, clock: Clock): PeerLink {
  let connection: ControlConnection | null = null;
  let connectedTo = '';
  // Anew each time: while the cable is out a host does not have its own addresses, and must not stay connected to itself.
  const otherNow = (): Endpoint => addressOfOther(peer.address, admin.address, hostAddresses());
  const connect = async (address: Endpoint, timeoutMs: number): Promise<ControlConnection> => {
    const account = { monitorUser: peer.user, monitorPassword: peer.password };
    const hasTls = admin.tlsCert !== undefined;
    const tls = !hasTls ? 'off' : peer.tlsCa === undefined ? 'required' : 'verify';
    const tlsCa = peer.tlsCa === undefined ? {} : { tlsCa: peer.tlsCa };
    const server = { address, tls, ...tlsCa, proxyProtocol: 'off' } as const;
    return ControlConnection.open(server, account, clock, timeoutMs);
  };
  return {
    get address() {
      return formatEndpoint(otherNow());
    },
    async ask(message, timeoutMs) {
      const endMs = clock.nowMs() + timeoutMs;
      const address = otherNow();
      if (connection?.usable !== true || connectedTo !== formatEndpoint(address)) {
        connection?.close();
        connection = await connect(address, timeoutMs);
        connectedTo = formatEndpoint(address);
      }
      const [row] = await connection.run(`PEER ${message}`, Math.max(1, endMs - clock.nowMs()));
      const answer = row?.['peer'];
      return typeof answer === 'string' ? answer : '';
    },
    close: () => connection?.close(),
  };
}

/** The addresses that this host has now. */
export function hostAddresses(): ReadonlySet<string> {
  return new Set(ownAddresses().map(canonicalAddress));
}

/** The same file serves both hosts: of two addresses the own one is passed over. */
export function addressOfOther(
  addresses: readonly string[],
  own: Endpoint,
  onThisHost: ReadonlySet<string>,
): Endpoint {
  const parsed = addresses.flatMap((text) => parseEndpoint(text) ?? []);
  const isOwn = (one: Endpoint): boolean => {
    if (formatEndpoint(one) === formatEndpoint(own)) return true;
    if (one.kind === 'unix' || own.kind === 'unix' || one.port !== own.port) return false;
    return onThisHost.has(canonicalAddress(one.host));
  };
  return parsed.find((one) => !isOwn(one)) ?? parsed[0]!;
}
