/**
 * What an endpoint offers in its greeting. The bytes of a session are relayed as they are, so only flags
 * that every server behind the endpoint has may be offered: the form of the answers depends on them.
 */
import { Capability } from '../protocol/constants.ts';
import type { BackendView } from '../topology/snapshot.ts';

/** Flags that every server from MySQL 5.6 and MariaDB 10.0 on has. */
const COMMON =
  Capability.LONG_PASSWORD |
  Capability.FOUND_ROWS |
  Capability.LONG_FLAG |
  Capability.CONNECT_WITH_DB |
  Capability.NO_SCHEMA |
  Capability.ODBC |
  Capability.LOCAL_FILES |
  Capability.IGNORE_SPACE |
  Capability.PROTOCOL_41 |
  Capability.INTERACTIVE |
  Capability.IGNORE_SIGPIPE |
  Capability.TRANSACTIONS |
  Capability.SECURE_CONNECTION |
  Capability.MULTI_STATEMENTS |
  Capability.MULTI_RESULTS |
  Capability.PS_MULTI_RESULTS |
  Capability.PLUGIN_AUTH |
  Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA;

/** Flags of MySQL 5.7 and MariaDB 10.2. */
const NEWER = Capability.SESSION_TRACK | Capability.DEPRECATE_EOF;

/** Flags of a login alone: what a client says with them is not for the server behind. */
const LOGIN_ONLY =
  Capability.CONNECT_WITH_DB |
  Capability.PLUGIN_AUTH |
  Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA |
  Capability.SECURE_CONNECTION |
  Capability.PROTOCOL_41 |
  Capability.LONG_PASSWORD |
  Capability.IGNORE_SIGPIPE;

/** The flags of a session that its backend connection must have as well. */
export const RELAYED_CAPABILITIES: number = ((COMMON | NEWER) & ~LOGIN_ONLY) >>> 0;

/** The greeting's version while no server has been seen yet. */
const UNKNOWN_VERSION = '5.5.5-10.11.0-MariaDB';

/** What a greeting says. */
export interface Offer {
  readonly serverVersion: string;
  readonly capabilities: number;
}

/** Version string and flags to greet with, given the cluster's servers and its primary. */
export function offerOf(members: readonly BackendView[], primary: string | null): Offer {
  const seen = members.filter(({ serverVersion }) => serverVersion !== null);
  const chosen = seen.find(({ name }) => name === primary) ?? seen[0];
  const allNewer = seen.length > 0 && seen.every(({ serverVersion }) => isNewer(serverVersion!));
  return {
    serverVersion: chosen === undefined ? UNKNOWN_VERSION : greetingVersion(chosen.serverVersion!),
    capabilities: (allNewer ? COMMON | NEWER : COMMON) >>> 0,
  };
}

function isNewer(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return version.includes('MariaDB')
    ? major > 10 || (major === 10 && minor >= 2)
    : major > 5 || (major === 5 && minor >= 7);
}

/** MariaDB 10 greets with a prefix that keeps old replicas from taking it for MySQL 1.0. */
function greetingVersion(version: string): string {
  return version.startsWith('10.') && version.includes('MariaDB') ? `5.5.5-${version}` : version;
}
