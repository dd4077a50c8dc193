/**
 * Does the chores of `chores.ts` on the servers. Each is looked at once more by the server's own words right before
 * it is done, for what was seen may be a second old; each can be done twice.
 */
import type { ClusterConfig } from '../config/config.ts';
import { acknowledges } from './acknowledgements.ts';
import type { Chore } from './chores.ts';
import type { ServerFacts } from '../monitor/observation.ts';
import { followByPlace } from './follow-by-place.ts';
import {
  describeReminder,
  Diverged,
  extrasOver,
  hasLogOf,
  heldBy,
  lacksOwn,
  whyItsPlaceIsUnknown,
} from './history.ts';
import { whyNotLetLoose } from './let-loose.ts';
import { mayHaveForgotten } from './memory.ts';
import { NotYet } from './not-yet.ts';
import { takeReplicaSide } from './replica-side.ts';
import { LOOK_TIMEOUT_MS, type OpenServer, type ServerControl } from './server-control.ts';
import { whatACrashCosts } from './semi-sync.ts';
import {
  factsInCluster,
  followsServer,
  isDiverged,
  isSeen,
  memberOf,
  sourceOf,
  type Survey,
} from './survey.ts';
import { Overtaken, type Turn } from './turns.ts';

/** What a chore needs of the rest of the control plane. */
export interface CareWorld {
  /** In which all of it is done, or no more of it when a promotion begins. */
  readonly turn: Turn;
  /** Opens servers that are acted on in this turn alone. */
  readonly openServer: OpenServer;
  survey(): Survey;
  /** Writes down that the primary goes on alone, or no longer. */
  setAlone(alone: boolean): Promise<void>;
  /** Writes down that the replication of a server is about to be stopped, to be started again. */
  takeInHand(backends: readonly string[]): Promise<void>;
  checkNow(backend: string): Promise<boolean>;
}

/** Bound of becoming read-only: it is tried again. */
const FENCE_TIMEOUT_MS = 3_000;

/** Does one chore and answers in words what it did; rejects when it did not succeed. */
export async function careFor(cluster: ClusterConfig, chore: Chore, world: CareWorld): Promise<string> {
  const servers: ServerControl[] = [];
  const open = async (name: string): Promise<ServerControl> => {
    const member = world.survey().members.find(({ backend }) => backend.name === name);
    if (member === undefined) throw new Error(`${name} is not in cluster ${cluster.name}`);
    const server = await world.openServer(member.backend, cluster);
    servers.push(server);
    return server;
  };
  try {
    const detail = await work(cluster, chore, world, open);
    await world.checkNow(chore.backend);
    return detail;
  } finally {
    for (const server of servers) server.close();
  }
}

type Open = (name: string) => Promise<ServerControl>;

async function work(cluster: ClusterConfig, chore: Chore, world: CareWorld, open: Open): Promise<string> {
  const { backend } = chore;
  switch (chore.kind) {
    case 'fence':
      return fence(await open(backend), world);
    case 'unlock':
      return unlock(await open(backend), cluster, world, open);
    case 'reconnect': {
      // A primary that has just stopped answering is silent, too; a receiver that connects anew bears no witness of it.
      const { remembered } = world.survey();
      if (remembered !== null && !(await world.checkNow(remembered)))
        throw new NotYet(`${remembered} does not answer now, so ${backend} is left as a witness of that`);
      const server = await open(backend);
      await world.takeInHand([backend]);
      await reconnect(server, world);
      return 'its receiver has connected anew';
    }
    case 'follow':
      return follow(await open(backend), await open(chore.source), cluster, world);
    case 'semi_sync': {
      const server = await open(backend);
      if (chore.side === 'replica' && chore.on) await world.takeInHand([backend]);
      await server.setSemiSync(chore.side, chore.on);
      if (chore.side === 'primary' || !chore.on)
        return `${sideWords(chore.side)} is ${chore.on ? 'on' : 'off'}`;
      // A receiver says that it answers when it connects.
      await reconnect(server, world);
      return `${sideWords(chore.side)} is on, and its receiver has connected anew`;
    }
    case 'go_alone': {
      const survey = world.survey();
      if (survey.remembered !== backend) throw new Error(`${backend} is not the primary any more`);
      await world.setAlone(true);
      await (await open(backend)).setSemiSync('primary', false);
      const words =
        'it goes on alone: until one has caught up, no replica has what it acknowledges from now on';
      return `${words}${whatACrashCosts(memberOf(survey, backend)!)}`;
    }
    case 'take_back':
      return takeBack(await open(backend), world, open);
  }
}

/** In one: nobody who overtakes it finds the receiver stopped. */
function reconnect(server: ServerControl, { turn }: CareWorld): Promise<void> {
  return turn.act(server.backend.name, async () => {
    await server.stopReceiver();
    await server.startReplication();
  });
}

/** Who has become the primary meanwhile is not fenced. */
async function fence(server: ServerControl, world: CareWorld): Promise<string> {
  const { name } = server.backend;
  if (world.survey().remembered === name) throw new Error(`${name} is the primary now`);
  const done = 'it is read-only, and the sessions of its clients were ended';
  try {
    await server.makeReadOnly(FENCE_TIMEOUT_MS, true);
    return done;
  } catch (error) {
    // An applier that waits for replicas of its own lets nobody lock, and nothing would ever end that wait.
    const { replication, semiSync } = await server.look(LOOK_TIMEOUT_MS);
    if (replication === null || semiSync.primary?.enabled !== true) throw error;
    await server.setSemiSync('primary', false);
  }
  await server.makeReadOnly(FENCE_TIMEOUT_MS, true);
  return `${done}; its applier, which waited for replicas of its own, waits no more`;
}

/**
 * The primary of the epoch came back read-only, as a server should. Let loose only when it is still that, and when
 * it knows of no later promotion itself.
 */
async function unlock(
  server: ServerControl,
  cluster: ClusterConfig,
  world: CareWorld,
  open: Open,
): Promise<string> {
  const { name } = server.backend;
  const facts = await server.look(LOOK_TIMEOUT_MS);
  const { epoch: known } = facts;
  const { remembered, epoch } = world.survey();
  if (remembered !== name) throw new Error(`${name} is not the primary any more`);
  if (known !== null && known.epoch > epoch) {
    throw new Error(`it knows epoch ${known.epoch}, in which ${known.backend} is the primary`);
  }
  if (world.turn.isOver) throw new Overtaken();
  const why = await whyNotLetLoose(name, facts, {
    survey: () => world.survey(),
    look: async (backend) => (await open(backend)).look(LOOK_TIMEOUT_MS),
    checkNow: (backend) => world.checkNow(backend),
  });
  if (why !== null) throw new Error(why);
  const cost = whatACrashHasCost(world.survey(), name);
  // The note itself must wait for nobody; the first write of a client must, if any must. Somebody may have let clients in by
  // hand since it was seen.
  if (cluster.semiSync !== 'off') {
    await server.makeReadOnly(FENCE_TIMEOUT_MS, true);
    await server.setSemiSync('primary', false);
  }
  if (epoch > 0) await server.noteEpoch({ cluster: cluster.name, epoch, backend: name });
  if (cluster.semiSync === 'require' && !world.survey().alone) await server.setSemiSync('primary', true);
  await server.makeWritable();
  return `it is writable again${cost}${describeReminder(facts)}`;
}

/** What nobody else has; to be put behind other words. */
function whatACrashHasCost(survey: Survey, primary: string): string {
  const member = memberOf(survey, primary);
  const isKept = member === undefined || !mayHaveForgotten(survey, member, 'keepsAcknowledged');
  return !survey.alone || isKept
    ? ''
    : '; it went on alone, and if it crashed, the last of what it had acknowledged may be gone';
}

async function follow(
  server: ServerControl,
  source: ServerControl,
  cluster: ClusterConfig,
  world: CareWorld,
): Promise<string> {
  const { name } = server.backend;
  const primary = source.backend.name;
  if (world.survey().remembered !== primary) throw new Error(`${primary} is not the primary any more`);
  if (!(await server.look(LOOK_TIMEOUT_MS)).readOnly) await fence(server, world);
  await takeReplicaSide(server, cluster);
  await world.takeInHand([name]);
  const facts = await source.look(LOOK_TIMEOUT_MS);
  if (!facts.hasGtid) {
    if (facts.replication !== null) throw new Error(`${primary} replicates from another server itself`);
    const { handover } = world.survey();
    const { holdTimeoutMs: followMs, catchUpTimeoutMs: catchUpMs } = cluster;
    const terms = { handover, followMs, catchUpMs, receives: mayReceive(world.survey(), name) };
    await followByPlace(server, source, terms);
    return `${name} follows ${primary}`;
  }
  if ((await server.look(LOOK_TIMEOUT_MS)).replication !== null) {
    await server.stopReplication(true, cluster.catchUpTimeoutMs);
  }
  // Only now can nobody add to it any more.
  const own = factsInCluster(world.survey(), server.backend, await server.look(LOOK_TIMEOUT_MS));
  // It may have been emptied since it was seen.
  const why = whyItsPlaceIsUnknown(name, own);
  if (why !== null) throw new Error(why);
  if (own.replication === null && heldBy(own) === '')
    throw new Error(`${name} says that it has nothing, and would be sent all from the very beginning`);
  const theirs = await source.look(LOOK_TIMEOUT_MS);
  if (theirs.replication !== null) throw new Error(`${primary} replicates from another server itself`);
  const extras = extrasOver(own, theirs);
  if (extras.count !== 0n) throw new Diverged(extras.detail, primary);
  await server.follow(source.backend, cluster.holdTimeoutMs, lacksOwn(own, theirs), null);
  return `${name} follows ${primary}${describeReminder(own)}`;
}

/** From a source that nobody can write to: what it still gets from there is exact, and stops where it has to. */
function mayReceive(survey: Survey, name: string): boolean {
  const member = memberOf(survey, name);
  const from = member === undefined ? undefined : sourceOf(survey, member);
  return from !== undefined && isSeen(from) && from.record.facts.readOnly;
}

/** The decision ends when the primary waits for its replicas for sure. */
async function takeBack(server: ServerControl, world: CareWorld, open: Open): Promise<string> {
  await server.setSemiSync('primary', true);
  const facts = await server.look(LOOK_TIMEOUT_MS);
  const { primary } = facts.semiSync;
  // What was acknowledged until now must be on a replica, too, before the decision is taken back.
  const needed = primary?.waitForReplicas ?? 1;
  const isLive = primary !== null && primary.live && primary.clients >= needed;
  if (!isLive || (await countOfThoseThatHave(facts, server.backend.name, world, open)) < needed) {
    await server.setSemiSync('primary', false);
    throw new NotYet('no replica acknowledged and had all of it when it was to wait for one again');
  }
  await world.setAlone(false);
  return 'it acknowledges a write when a replica has it, as before';
}

/** Of the replicas that acknowledge what it writes, those that have by now or in a moment all that it had when it was looked at. */
async function countOfThoseThatHave(
  facts: ServerFacts,
  name: string,
  world: CareWorld,
  open: Open,
): Promise<number> {
  let count = 0;
  const survey = world.survey();
  const primary = memberOf(survey, name);
  const replicas = survey.members.filter(
    (member) => primary !== undefined && followsServer(member, primary) && !isDiverged(survey, member),
  );
  for (const { backend } of replicas) {
    try {
      const replica = await open(backend.name);
      const seen = await replica.look(LOOK_TIMEOUT_MS);
      if (!acknowledges(seen) || seen.replication?.sourceServerId !== facts.serverId) continue;
      const has = hasLogOf(seen, facts) || (facts.hasGtid && (await replica.hasApplied(facts.position)));
      if (has) count++;
    } catch {
      // One that cannot be asked has nothing, as far as this goes.
    }
  }
  return count;
}

function sideWords(side: 'primary' | 'replica'): string {
  return `semi-synchronous replication as ${side === 'primary' ? 'a primary' : 'a replica'}`;
}
