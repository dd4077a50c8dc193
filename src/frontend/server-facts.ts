/**
 * What the sessions of an endpoint must know of the servers behind it to read and repeat their statements:
 * taken from the snapshot, and the same object as long as nothing of it changes.
 */
import type { BackendView, Snapshot } from '../topology/snapshot.ts';
import { causalWords } from './causal.ts';
import type { ServerFacts } from './context.ts';

/** Where nothing is known yet: the versions that an executable comment may be about. */
const UNKNOWN_MIN = 50500;
const UNKNOWN_MAX = 999999;

/** First version that knows `transaction_isolation`. */
const NEW_NAMES_MYSQL = 50720;
const NEW_NAMES_MARIADB = 110101;

/** Facts of the servers of a cluster as the snapshot has them. */
export function factsOf(snapshot: Snapshot, cluster: string): ServerFacts {
  const members = snapshot.backends.filter((backend) => backend.cluster === cluster);
  const primaryName = snapshot.clusters.find(({ name }) => name === cluster)?.primary;
  const primary = members.find(({ name }) => name === primaryName);
  const versions = members.flatMap(({ serverVersion }) =>
    serverVersion === null ? [] : [numberOf(serverVersion)],
  );
  const isMariaDb = members.some(({ serverVersion }) => serverVersion?.includes('MariaDB') === true);
  const minVersion = versions.length === 0 ? UNKNOWN_MIN : Math.min(...versions);
  const isNew = minVersion >= (isMariaDb ? NEW_NAMES_MARIADB : NEW_NAMES_MYSQL);
  return {
    isMariaDb,
    minVersion,
    maxVersion: versions.length === 0 ? UNKNOWN_MAX : Math.max(...versions),
    sqlMode: sqlModeOf(primary, members),
    transactionNames: isNew
      ? { isolation: 'transaction_isolation', readOnly: 'transaction_read_only' }
      : { isolation: 'tx_isolation', readOnly: 'tx_read_only' },
    causal: causalWords(isMariaDb, minVersion),
  };
}

/** True when the two say the same. */
export function sameFacts(one: ServerFacts, other: ServerFacts): boolean {
  return (
    one.isMariaDb === other.isMariaDb &&
    one.minVersion === other.minVersion &&
    one.maxVersion === other.maxVersion &&
    one.sqlMode === other.sqlMode
  );
}

function sqlModeOf(primary: BackendView | undefined, members: readonly BackendView[]): string {
  return primary?.sqlMode ?? members.find(({ sqlMode }) => sqlMode !== null)?.sqlMode ?? '';
}

/** 101106 of '10.11.6-MariaDB', 50624 of '5.6.24', as executable comments write versions. */
function numberOf(version: string): number {
  const [, major = '0', minor = '0', patch = '0'] =
    /(\d+)\.(\d+)\.(\d+)/.exec(version.replace(/^5\.5\.5-/, '')) ?? [];
  return Number(major) * 10_000 + Number(minor) * 100 + Number(patch);
}
