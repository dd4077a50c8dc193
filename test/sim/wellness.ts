/**
 * Is the cluster well? Asked when all faults have ended: one primary that takes writes, everybody else follows it
 * or is reported with the reason, nothing unfinished, semi-synchronous replication as the policy says.
 */
import type { SimProxy } from './proxy.ts';
import type { SimServer } from './server.ts';
import type { Txn } from './transactions.ts';
import type { World } from './world.ts';

export interface Wellness {
  /** Why it is not well; empty when it is. */
  readonly reason: string;
  /** What is left to an operator, and reported to him. */
  readonly operator: string;
}

export function whyNotWell(world: World): Wellness {
  const proxy = world.inCharge;
  const ill = (reason: string): Wellness => ({ reason, operator: '' });
  const { life } = proxy;
  if (life === null) return ill('dbproxy does not run');
  if (world.proxies.some(({ hasUnfinished }) => hasUnfinished)) return ill('a promotion is unfinished');
  const whyNoPair = world.pair?.whyNotOne() ?? '';
  if (whyNoPair !== '') return ill(whyNoPair);
  const { primary: name } = world.ledger.recorded;
  if (name === null) return ill('there is no primary');
  const primary = world.serverOf(name);
  const governor = life.control.governorOf('main');
  const words = governor.findings.map((finding) => `${finding.name}: ${finding.detail}`).join(' | ');
  const [, whyNot] =
    /a crash has cut its binary log short: [^|;]*(; nobody can take over)?/.exec(words) ?? [];
  const isLeft = world.scenario.failover === 'manual' || whyNot !== undefined;
  if (!primary.isWritable && /a crash has cut/.test(words) && isLeft)
    return { reason: '', operator: `${name} is not writable, and a replica has more` };
  if (!primary.isWritable) return ill(`${name} is not writable (${words})`);
  if (primary.replication !== null) return ill(`${name} replicates (${words})`);
  const isElsewhere = ({ life: of }: SimProxy): boolean => of?.store.snapshot.clusters[0]!.primary !== name;
  if (world.proxies.some(isElsewhere)) return ill(`workers do not write to ${name} (${words})`);
  const operator: string[] = [];
  let followers = 0;
  for (const server of world.servers) {
    if (server === primary) continue;
    const why = whyNoFollower(world, server, primary);
    if (why === '') {
      followers++;
      continue;
    }
    if (!server.readOnly) return ill(`${server.name} is writable and ${why} (${words})`);
    const isGivenUp = server.log.transactions.some(({ id }) => world.ledger.isGivenUp(id));
    const isReported = isGivenUp || isSaid(world, server, primary, words);
    if (!isReported) return ill(`${server.name} ${why} (${words})`);
    operator.push(`${server.name} ${why}`);
  }
  if (world.scenario.semiSync !== 'off') {
    const { alone } = life.store.snapshot.clusters[0]!;
    if (followers > 0 && !(primary.primarySide.enabled && primary.primarySide.live)) {
      return ill(`semi-sync is off on ${name} (${words})`);
    }
    if (followers > 0 && alone) return ill(`${name} counts as alone (${words})`);
    const { clients } = primary.facts().semiSync.primary!;
    if (clients === 0 && primary.primarySide.enabled && primary.primarySide.live) {
      return ill(`${name} waits for replicas that are not there (${words})`);
    }
  }
  if (!world.ledger.hasAcknowledgedSince(world.nowMs - 3_000)) return ill(`no write goes through (${words})`);
  return { reason: '', operator: operator.join('; ') };
}

/** Why a server is no sound replica of the primary. */
function whyNoFollower(world: World, server: SimServer, primary: SimServer): string {
  const { replication } = server;
  if (replication === null) return 'follows nobody';
  if (replication.source !== primary) {
    const above = whyNoFollower(world, replication.source, primary);
    if (replication.source.replication === null || above !== '') return `follows ${replication.source.name}`;
  }
  if (replication.applier !== 'running') return `does not apply: ${replication.applierError}`;
  if (replication.receiver !== 'running') return `does not receive: ${replication.receiverError}`;
  const lacks = ({ log }: SimServer, { id }: Txn): boolean => !log.has(id) && !world.ledger.isGivenAgain(id);
  const extra = server.log.transactions.find((txn) => lacks(primary, txn));
  if (extra !== undefined)
    return `has a transaction (${extra.writer}:${extra.sequence}) that its primary has not`;
  const missing = primary.log.transactions.find((txn) => lacks(server, txn));
  const first = replication.relay[0];
  if (
    missing !== undefined &&
    (first === undefined || first.id > missing.id) &&
    missing.id < (server.log.last?.id ?? 0)
  ) {
    return `has a gap at ${missing.writer}:${missing.sequence}`;
  }
  return '';
}

/**
 * An operator is told: a replica that cannot go on by itself is named with its error; of a write that has
 * spread, the server that it was made on.
 */
function isSaid(world: World, server: SimServer, primary: SimServer, words: string): boolean {
  const lines = words.split(' | ');
  const finding = /^(ReplicaBroken|ReplicaDiverged|OldPrimaryReturned.*has what)/;
  if (lines.some((line) => finding.test(line) && line.includes(server.name))) return true;
  const extra = server.log.transactions.find((txn) => !primary.log.has(txn.id));
  const culprit = world.servers.find(({ writer }) => writer === extra?.writer);
  if (culprit === undefined) return false;
  return lines.some((line) => line.startsWith('ReplicaDiverged') && line.includes(culprit.name));
}
