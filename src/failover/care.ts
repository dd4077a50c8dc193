/**
 * Does the chores of `chores.ts` on the servers. Each is looked at once more by the server's own words right before
 * it is done, for what was seen may be a second old; each can be done twice.
 */
import type { ClusterConfig } from '../config/config.ts';
import type { Chore } from './chores.ts';
import { holdsPosition } from '../monitor/gtid.ts';
import type { ServerFacts } from '../monitor/observation.ts';
import { extrasOver, heldBy, lacksOwn } from './history.ts';
import type { OpenServer, ServerControl } from './server-control.ts';
import { followsServer, memberOf, type Survey } from './survey.ts';

/** A server that is to follow the primary has what that one has not. */
export class Diverged extends Error {
  readonly extras: string;

  constructor(extras: string, primary: string) {
    super(`it has what ${primary} has not: ${extras}`);
    this.extras = extras;
  }
}

/** What a chore needs of the rest of the control plane. */
export interface CareWorld {
  readonly openServer: OpenServer;
  survey(): Survey;
  /** A promotion of the cluster runs, or was left unfinished. */
  isBusy(): boolean;
  /** Writes down that the primary goes on alone, or no longer. */
  setAlone(alone: boolean): Promise<void>;
  /** Writes down that the replication of a server is about to be stopped, to be started again. */
  takeInHand(backends: readonly string[]): Promise<void>;
  checkNow(backend: string): Promise<boolean>;
}

/** Bound of one look. */
const LOOK_TIMEOUT_MS = 2_000;
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
      return unlock(await open(backend), cluster, world);
    case 'reconnect': {
      // A primary that has just stopped answering is silent, too; a receiver that connects anew bears no witness of it.
      const { remembered } = world.survey();
      if (remembered !== null && !(await world.checkNow(remembered)))
        throw new Error(`${remembered} does not answer now, so ${backend} is left as a witness of that`);
      const server = await open(backend);
      await world.takeInHand([backend]);
      await server.stopReceiver();
      await server.startReplication();
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
      await server.stopReceiver();
      await server.startReplication();
      return `${sideWords(chore.side)} is on, and its receiver has connected anew`;
    }
    case 'go_alone': {
      if (world.survey().remembered !== backend) throw new Error(`${backend} is not the primary any more`);
      await world.setAlone(true);
      await (await open(backend)).setSemiSync('primary', false);
      return 'it goes on alone: what it acknowledges from now on no replica has, until one has caught up';
    }
    case 'take_back':
      return takeBack(await open(backend), world, open);
  }
}

/** Who has become the primary meanwhile is not fenced. */
async function fence(server: ServerControl, world: CareWorld): Promise<string> {
  const { name } = server.backend;
  if (world.survey().remembered === name) throw new Error(`${name} is the primary now`);
  await server.makeReadOnly(FENCE_TIMEOUT_MS, true);
  return 'it is read-only, and the sessions of its clients were ended';
}

/**
 * The primary of the epoch came back read-only, as a server should. Let loose only when it is still that, and when
 * it knows of no later promotion itself.
 */
async function unlock(server: ServerControl, cluster: ClusterConfig, world: CareWorld): Promise<string> {
  const { name } = server.backend;
  const { epoch: known } = await server.look(LOOK_TIMEOUT_MS);
  const { remembered, epoch } = world.survey();
  if (remembered !== name) throw new Error(`${name} is not the primary any more`);
  if (known !== null && known.epoch > epoch) {
    throw new Error(`it knows epoch ${known.epoch}, in which ${known.backend} is the primary`);
  }
  // The note itself must wait for nobody; the first write of a client must, if any must.
  if (cluster.semiSync !== 'off') await server.setSemiSync('primary', false);
  if (epoch > 0) await server.noteEpoch({ cluster: cluster.name, epoch, backend: name });
  if (cluster.semiSync === 'require' && !world.survey().alone) await server.setSemiSync('primary', true);
  await server.makeWritable();
  // A promotion that began meanwhile has fenced it, perhaps before this.
  if (world.isBusy() || world.survey().remembered !== name) {
    await server.makeReadOnly(FENCE_TIMEOUT_MS, true);
    throw new Error('a promotion has begun');
  }
  return 'it is writable again';
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
  if (cluster.semiSync !== 'off') {
    await server.setSemiSync('primary', false).catch(() => undefined);
    await server.setSemiSync('replica', true).catch(() => undefined);
  }
  if (!(await server.look(LOOK_TIMEOUT_MS)).readOnly) await server.makeReadOnly(FENCE_TIMEOUT_MS, true);
  await world.takeInHand([name]);
  if ((await server.look(LOOK_TIMEOUT_MS)).replication !== null) {
    await server.stopReplication(true, cluster.catchUpTimeoutMs);
  }
  // Only now can nobody add to it any more.
  const own = await server.look(LOOK_TIMEOUT_MS);
  const theirs = await source.look(LOOK_TIMEOUT_MS);
  if (theirs.replication !== null) throw new Error(`${primary} replicates from another server itself`);
  const extras = extrasOver(own, theirs);
  if (extras.count !== 0n) throw new Diverged(extras.detail, primary);
  await server.follow(source.backend, cluster.holdTimeoutMs, lacksOwn(own, theirs));
  return `${name} follows ${primary}`;
}

/** The decision ends when the primary waits for its replicas for sure. */
async function takeBack(server: ServerControl, world: CareWorld, open: Open): Promise<string> {
  await server.setSemiSync('primary', true);
  const facts = await server.look(LOOK_TIMEOUT_MS);
  const { primary } = facts.semiSync;
  // What was acknowledged until now must be on a replica, too, before the decision is taken back.
  const isLive = primary !== null && primary.live && primary.clients > 0;
  if (!isLive || !(await anyHas(facts, server.backend.name, world, open))) {
    await server.setSemiSync('primary', false);
    throw new Error('no replica answered it and had all of it when it was to wait for one again');
  }
  await world.setAlone(false);
  return 'it acknowledges a write when a replica has it, as before';
}

/** A replica of it has, by now or in a moment, all that it had when it was looked at. */
async function anyHas(facts: ServerFacts, name: string, world: CareWorld, open: Open): Promise<boolean> {
  const survey = world.survey();
  const primary = memberOf(survey, name);
  const replicas = survey.members.filter((member) => primary !== undefined && followsServer(member, primary));
  for (const { backend } of replicas) {
    try {
      const replica = await open(backend.name);
      if (holdsPosition(heldBy(await replica.look(LOOK_TIMEOUT_MS)), facts.position)) return true;
      if (await replica.hasApplied(facts.position)) return true;
    } catch {
      // One that cannot be asked has nothing, as far as this goes.
    }
  }
  return false;
}

function sideWords(side: 'primary' | 'replica'): string {
  return `semi-synchronous replication as ${side === 'primary' ? 'a primary' : 'a replica'}`;
}
