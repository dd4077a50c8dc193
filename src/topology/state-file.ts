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

export interface DurableState {
  /** Number of the last promotion; grows, and no number is used twice. */
  readonly epoch: number;
  readonly clusters: Readonly<Record<string, { readonly primary: string }>>;
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
    if (!isRecord(cluster) || typeof cluster.primary !== 'string') return `cluster ${name} has no primary`;
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
