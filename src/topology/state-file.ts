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

/** What an operator wants of a backend. */
export type AdminState = 'online' | 'draining' | 'offline';

const ADMIN_STATES: readonly string[] = ['online', 'draining', 'offline'] satisfies AdminState[];

/** What was changed of a backend at run time; what is absent is as the configuration says. */
export interface BackendOverride {
  readonly rwWeight?: number;
  readonly roWeight?: number;
  readonly maxConnections?: number;
  readonly admin?: AdminState;
}

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
  /** When a primary was replaced last without an operator: Unix time in milliseconds. */
  readonly failoverWallMs?: number;
}

export interface DurableState {
  /** Number of the last promotion; grows, and no number is used twice. */
  readonly epoch: number;
  readonly clusters: Readonly<Record<string, ClusterState>>;
  readonly backends: Readonly<Record<string, BackendOverride>>;
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
  return {
    epoch,
    clusters: clusters as DurableState['clusters'],
    backends: backends as DurableState['backends'],
  };
}

function clusterProblem(value: unknown): string | null {
  if (!isRecord(value) || typeof value.primary !== 'string') return 'has no primary';
  const { epoch, alone, maintenance, inHand, failoverWallMs } = value;
  if (inHand !== undefined && !(Array.isArray(inHand) && inHand.every((name) => typeof name === 'string'))) {
    return 'has an inHand that is no list of names';
  }
  if (epoch !== undefined && !isCount(epoch)) return 'has an epoch that is no whole number';
  if (failoverWallMs !== undefined && !isCount(failoverWallMs))
    return 'has a failoverWallMs that is no whole number';
  if (![alone, maintenance].every((flag) => flag === undefined || typeof flag === 'boolean')) {
    return 'has a flag that is neither true nor false';
  }
  return null;
}

function overrideProblem(value: unknown): string | null {
  if (!isRecord(value)) return 'it is not an object';
  for (const key of WEIGHT_KEYS) {
    if (value[key] !== undefined && !isCount(value[key])) return `${key} is not a whole number`;
  }
  const { admin } = value;
  if (admin !== undefined && !(typeof admin === 'string' && ADMIN_STATES.includes(admin))) {
    return `admin is none of ${ADMIN_STATES.join(', ')}`;
  }
  return null;
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
