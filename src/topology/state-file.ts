/**
 * The state file: what was decided at run time and must outlive the process. One small JSON document in
 * `state_dir`, replaced as a whole: written beside, flushed to disk, renamed over the old one, and the
 * directory flushed too; so after a crash there is either the old document or the new one.
 *
 * A file that cannot be understood is refused, not ignored: to forget who the primary is could give the
 * cluster a second writer.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { refusal } from '../base/errors.ts';
import { readBackend } from '../config/load.ts';

/** What an operator wants of a backend. */
export type AdminState = 'online' | 'draining' | 'offline';

const ADMIN_STATES: readonly string[] = ['online', 'draining', 'offline'] satisfies AdminState[];

/** What was changed of a backend at run time; what is absent is as the configuration says. */
export interface BackendOverride {
  readonly rwWeight?: number;
  readonly roWeight?: number;
  readonly maxConnections?: number;
  readonly admin?: AdminState;
  /** Why it is so, where no operator has said it. */
  readonly adminReason?: string;
  /** It was added, and has not been seen to replicate from its cluster yet: it counts for nothing there. */
  readonly isNew?: boolean;
}

/** A place in the binary log of one server. */
export interface LogPlace {
  /** Whose log: its server_uuid. */
  readonly server: string;
  readonly file: string;
  readonly position: number;
}

/** Without global ids: where the log of a primary goes on from that of the one before it. */
export interface Handover {
  /** In the log of the one before: what the new primary has of it ends here. */
  readonly end: LogPlace;
  /** As far had it received, which may be half a transaction more. */
  readonly received: LogPlace;
  /** In the log of the new primary: its own begins here. */
  readonly start: LogPlace;
}

/** A server that has what nobody else has: it is not brought back by itself. */
export interface Divergence {
  readonly backend: string;
  /** In words: what it has that its primary has not; or what `kind` says. */
  readonly extras: string;
  /**
   * Not that, but for good, until it is filled anew. lacks: what it has passed over when it was sent. forgotten: what its
   * primary had written and has not any more, so that the same ids are given to other changes.
   */
  readonly kind?: 'lacks' | 'forgotten';
}

/** What replicas had written themselves when they were last compared with their primary, which had all of it. */
export interface OwnWrites {
  /** In which epoch: in another one they may have been the primary. */
  readonly epoch: number;
  /** Global ids, by the names of the replicas. */
  readonly of: Readonly<Record<string, string>>;
}

/** Replicas that had been gone for long when their primary was last seen taking writes. */
export interface LongGone {
  /** In which epoch: of another primary they may have more. */
  readonly epoch: number;
  readonly servers: readonly string[];
}

/** A promotion that has begun and not ended: of the journal of the one in charge what the other of a pair needs to take it up. */
export interface PromotionUnderWay {
  /** The process that carries it out, and the number that it has there. */
  readonly by: string;
  readonly number: number;
  /** Of the cluster when this was written: in another epoch it is over. */
  readonly ofEpoch: number;
  /** Whom it makes the primary. */
  readonly target: string;
  /** What was decided, and how far it has come; see `failover/shared-run.ts`. */
  readonly run: Readonly<Record<string, unknown>>;
}

/** Keys of a section as a file would have them. */
export type WrittenKeys = Readonly<Record<string, string>>;

/** What was decided of a cluster. */
export interface ClusterState {
  readonly primary: string;
  /** Of the promotion that made it the primary; absent: the epoch of the document. */
  readonly epoch?: number;
  /** The primary goes on without a replica to wait for, though semi_sync = require. */
  readonly alone?: boolean;
  /** No automatic failover, by an operator's word. */
  readonly maintenance?: boolean;
  /** Servers whose replication was being stopped, to be started again. */
  readonly inHand?: readonly string[];
  /** When a primary was replaced last without an operator, as of its record: Unix time in milliseconds. */
  readonly failoverWallMs?: number;
  /** Of the promotion that made it the primary, where there are no global ids; null and absent: not known. */
  readonly handover?: Handover | null;
  /** Servers that were found to have what the primary has not. */
  readonly diverged?: readonly Divergence[];
  readonly ownWrites?: OwnWrites;
  readonly longGone?: LongGone;
  /** Of a pair alone. */
  readonly promotion?: PromotionUnderWay;
}

export interface DurableState {
  /** Number of the last promotion; grows, and no number is used twice. */
  readonly epoch: number;
  /** Of a pair: how often one of the two has gone on without the other. */
  readonly term?: number;
  /** Of a pair: number of the change. */
  readonly revision?: number;
  readonly clusters: Readonly<Record<string, ClusterState>>;
  readonly backends: Readonly<Record<string, BackendOverride>>;
  /** Backends that were added at run time, by their names. */
  readonly added?: Readonly<Record<string, WrittenKeys>>;
  /** Backends of the file that were dropped at run time, with the addresses that they had. */
  readonly dropped?: Readonly<Record<string, string>>;
}

/** What a fresh installation remembers. */
export const EMPTY_STATE: DurableState = { epoch: 0, clusters: {}, backends: {} };

const FORMAT = 1;
const FILE_NAME = 'state.json';
const WEIGHT_KEYS = ['rwWeight', 'roWeight', 'maxConnections'] as const;

/** Where durable state is kept; a test may keep it in memory. */
export interface StateStore {
  load(): DurableState;
  /**
   * Resolves when it is on disk for sure; rejects with DBPROXY_STATE_FILE when it is not. Then `load` tells
   * which state is there: the old one, or the new one when only its flushing failed.
   */
  save(state: DurableState): Promise<void>;
}

/** The state file of `stateDir`; the directory is made when it is not there. */
export function openStateFile(stateDir: string): StateStore {
  const path = join(stateDir, FILE_NAME);
  return {
    load() {
      let text: string;
      try {
        mkdirSync(stateDir, { recursive: true, mode: 0o750 });
        text = readFileSync(path, 'utf8');
      } catch (error) {
        if (isErrno(error, 'ENOENT')) return EMPTY_STATE;
        throw refusal('DBPROXY_STATE_UNREADABLE', path, (error as Error).message);
      }
      const parsed = parseState(text);
      if (typeof parsed === 'string') throw refusal('DBPROXY_STATE_UNREADABLE', path, parsed);
      return parsed;
    },
    async save(state) {
      try {
        await replaceFile(stateDir, path, formatState(state));
      } catch (error) {
        throw refusal('DBPROXY_STATE_FILE', path, (error as Error).message);
      }
    },
  };
}

/** The document for a state. */
export function formatState(state: DurableState): string {
  return `${JSON.stringify({ format: FORMAT, ...state }, null, 2)}\n`;
}

/** The state of a document, or what is wrong with it. */
export function parseState(text: string): DurableState | string {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    return `it is not JSON (${(error as Error).message})`;
  }
  if (!isRecord(document)) return 'it is not a JSON object';
  if (document.format !== FORMAT) {
    return `it has format ${JSON.stringify(document.format)}, this version reads format ${FORMAT}`;
  }
  const { epoch, clusters, backends } = document;
  const { term, revision } = document;
  if (![term, revision].every((one) => one === undefined || isCount(one)))
    return 'term or revision is no whole number';
  if (!isCount(epoch)) return `epoch is ${JSON.stringify(epoch)}, not a whole number`;
  if (!isRecord(clusters) || !isRecord(backends)) return 'clusters or backends is missing';

  for (const [name, cluster] of Object.entries(clusters)) {
    const problem = clusterProblem(cluster);
    if (problem !== null) return `cluster ${name} ${problem}`;
  }
  for (const [name, backend] of Object.entries(backends)) {
    const problem = overrideProblem(backend);
    if (problem !== null) return `backend ${name}: ${problem}`;
  }
  const { added, dropped } = document;
  const problem = addedProblem(added) ?? droppedProblem(dropped);
  if (problem !== null) return problem;
  return {
    epoch,
    ...(isCount(term) && { term }),
    ...(isCount(revision) && { revision }),
    clusters: clusters as DurableState['clusters'],
    backends: backends as DurableState['backends'],
    ...(added !== undefined && { added: added as NonNullable<DurableState['added']> }),
    ...(dropped !== undefined && { dropped: dropped as NonNullable<DurableState['dropped']> }),
  };
}

function clusterProblem(value: unknown): string | null {
  if (!isRecord(value) || typeof value.primary !== 'string') return 'has no primary';
  const { epoch, alone, maintenance, inHand, failoverWallMs, handover, diverged } = value;
  const { ownWrites, longGone, promotion } = value;
  if (promotion !== undefined && !isPromotion(promotion))
    return 'has a promotion without its process, number, epoch, target and run';
  if (diverged !== undefined && !(Array.isArray(diverged) && diverged.every(isDivergence)))
    return 'has a diverged that is no list of servers and what they have';
  if (ownWrites !== undefined && !isOwnWrites(ownWrites))
    return 'has an ownWrites that is no epoch with what replicas have written';
  if (longGone !== undefined && !isLongGone(longGone))
    return 'has a longGone that is no epoch with a list of servers';
  if (handover !== undefined && handover !== null && !isHandover(handover))
    return 'has a handover that is not three places in binary logs';
  if (inHand !== undefined && !isNames(inHand)) return 'has an inHand that is no list of names';
  if (epoch !== undefined && !isCount(epoch)) return 'has an epoch that is no whole number';
  if (failoverWallMs !== undefined && !isCount(failoverWallMs))
    return 'has a failoverWallMs that is no whole number';
  if (![alone, maintenance].every((flag) => flag === undefined || typeof flag === 'boolean')) {
    return 'has a flag that is neither true nor false';
  }
  return null;
}

function isDivergence(value: unknown): boolean {
  return (
    isRecord(value) &&
    typeof value.backend === 'string' &&
    typeof value.extras === 'string' &&
    (value.kind === undefined || value.kind === 'lacks' || value.kind === 'forgotten')
  );
}

function isOwnWrites(value: unknown): boolean {
  return isRecord(value) && isCount(value.epoch) && isTexts(value.of);
}

function isLongGone(value: unknown): boolean {
  return isRecord(value) && isCount(value.epoch) && isNames(value.servers);
}

function isPromotion(value: unknown): boolean {
  if (!isRecord(value) || !isRecord(value.run)) return false;
  const { by, target, number, ofEpoch } = value;
  return typeof by === 'string' && typeof target === 'string' && isCount(number) && isCount(ofEpoch);
}

function isHandover(value: unknown): boolean {
  const isPlace = (place: unknown): boolean =>
    isRecord(place) &&
    typeof place.server === 'string' &&
    typeof place.file === 'string' &&
    isCount(place.position);
  return isRecord(value) && [value.end, value.received, value.start].every(isPlace);
}

function overrideProblem(value: unknown): string | null {
  if (!isRecord(value)) return 'it is not an object';
  for (const key of WEIGHT_KEYS) {
    if (value[key] !== undefined && !isCount(value[key])) return `${key} is not a whole number`;
  }
  const { admin, adminReason, isNew } = value;
  if (adminReason !== undefined && typeof adminReason !== 'string') return 'adminReason is no text';
  if (isNew !== undefined && typeof isNew !== 'boolean') return 'isNew is neither true nor false';
  if (admin !== undefined && !(typeof admin === 'string' && ADMIN_STATES.includes(admin))) {
    return `admin is none of ${ADMIN_STATES.join(', ')}`;
  }
  return null;
}

function addedProblem(value: unknown): string | null {
  if (value === undefined) return null;
  if (!isRecord(value)) return 'added is not an object';
  for (const [name, written] of Object.entries(value)) {
    if (!isTexts(written)) return `added backend ${name} is not an object of texts`;
    const read = readBackend(name, written);
    if ('problems' in read) return `added backend ${name}: ${read.problems.join('; ')}`;
  }
  return null;
}

function droppedProblem(value: unknown): string | null {
  return value === undefined || isTexts(value) ? null : 'dropped is not an object of addresses';
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.every((name) => typeof name === 'string');
}

function isTexts(value: unknown): value is Record<string, string> {
  return isRecord(value) && Object.values(value).every((text) => typeof text === 'string');
}

async function replaceFile(directory: string, path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  try {
    const file = await open(temporary, 'w', 0o640);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
