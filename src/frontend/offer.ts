/**
 * What an endpoint offers in its greeting. A flag of the protocol is one of three things here:
 *
 *   relayed    it shapes what travels over the session, and the bytes pass as they are: offered only when
 *              every server behind the endpoint has it, and then asked of the server as well
 *   ours       it concerns the login or the channel, which end here: offered whatever the servers have
 *   neither    not offered
 *
 * The rest of the greeting (version, collation, plugin) is the primary's.
 */
import { Capability, Collation, ExtendedCapability } from '../protocol/constants.ts';
import type { BackendView, ServerGreeting } from '../topology/snapshot.ts';

/** The flags of a session that its backend connection must have as well. */
export const RELAYED_CAPABILITIES: number =
  (Capability.FOUND_ROWS |
    Capability.LONG_FLAG |
    Capability.NO_SCHEMA |
    Capability.ODBC |
    Capability.LOCAL_FILES |
    Capability.IGNORE_SPACE |
    Capability.INTERACTIVE |
    Capability.TRANSACTIONS |
    Capability.MULTI_STATEMENTS |
    Capability.MULTI_RESULTS |
    Capability.PS_MULTI_RESULTS |
    Capability.CAN_HANDLE_EXPIRED_PASSWORDS |
    Capability.SESSION_TRACK |
    Capability.DEPRECATE_EOF |
    Capability.OPTIONAL_RESULTSET_METADATA |
    Capability.QUERY_ATTRIBUTES) >>>
  0;

/** The same of MariaDB's upper flags. COM_MULTI is none of them: no server serves it any more. */
export const RELAYED_EXTENDED: number =
  ExtendedCapability.PROGRESS |
  ExtendedCapability.STMT_BULK_OPERATIONS |
  ExtendedCapability.EXTENDED_METADATA |
  ExtendedCapability.CACHE_METADATA |
  ExtendedCapability.BULK_UNIT_RESULTS;

/** What dbproxy does itself, on every listener. */
const OURS =
  Capability.LONG_PASSWORD |
  Capability.CONNECT_WITH_DB |
  Capability.PROTOCOL_41 |
  Capability.IGNORE_SIGPIPE |
  Capability.SECURE_CONNECTION |
  Capability.PLUGIN_AUTH |
  Capability.CONNECT_ATTRS |
  Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA;

/** The relayed flags that every server from MySQL 5.6 and MariaDB 10.0 on has: for when none was seen yet. */
const OLDEST =
  RELAYED_CAPABILITIES &
  ~(
    Capability.SESSION_TRACK |
    Capability.DEPRECATE_EOF |
    Capability.OPTIONAL_RESULTSET_METADATA |
    Capability.QUERY_ATTRIBUTES
  );

/** The greeting of a server that was not seen yet: what it will be is not known, what all have in common is. */
const UNSEEN_SERVER: ServerGreeting = {
  serverVersion: '5.5.5-10.11.0-MariaDB',
  capabilities: OLDEST,
  extendedCapabilities: 0,
  collation: Collation.UTF8MB4_GENERAL_CI,
  plugin: 'mysql_native_password',
};

/** What a greeting says, as far as the servers decide it. */
export interface Offer {
  readonly serverVersion: string;
  readonly capabilities: number;
  /** MariaDB's upper flags; undefined when the server is none, and then LONG_PASSWORD is set. */
  readonly extendedCapabilities: number | undefined;
  readonly collation: number;
  readonly defaultPlugin: string;
}

/**
 * The offer of an endpoint whose sessions change connections: a server must not leave column definitions out
 * because it has sent them before, on a connection and to a session of its choice.
 */
export function withoutCache(offer: Offer): Offer {
  return offer.extendedCapabilities === undefined
    ? offer
    : { ...offer, extendedCapabilities: offer.extendedCapabilities & ~ExtendedCapability.CACHE_METADATA };
}

/** What to greet with, given the cluster's servers and its primary. */
export function offerOf(members: readonly BackendView[], primary: string | null): Offer {
  const seen = members.flatMap(({ name, greeting }) => (greeting === null ? [] : [{ name, greeting }]));
  const model = (seen.find(({ name }) => name === primary) ?? seen[0])?.greeting ?? UNSEEN_SERVER;
  const greetings = seen.length === 0 ? [UNSEEN_SERVER] : seen.map(({ greeting }) => greeting);
  const common = greetings.reduce((flags, { capabilities }) => flags & capabilities, RELAYED_CAPABILITIES);
  const extended = greetings.reduce((flags, one) => flags & one.extendedCapabilities, RELAYED_EXTENDED);
  const isMariaDb = greetings.every(({ extendedCapabilities }) => extendedCapabilities !== 0);
  return {
    serverVersion: model.serverVersion,
    capabilities: (common | OURS) >>> 0,
    extendedCapabilities: isMariaDb ? extended : undefined,
    collation: model.collation,
    defaultPlugin: model.plugin,
  };
}
