/**
 * The state of a cluster where several dbproxies keep it in one place: what travels, and what the store needs of the
 * place. Pure. The text is the one of the state file, with this cluster alone, and who has written it.
 */
import { formatState, parseState, type ClusterState } from './state-file.ts';

/** What is kept there of a cluster. */
export interface SharedRecord {
  readonly epoch: number;
  readonly state: ClusterState;
  /** The proxy that has written it. */
  readonly by: string;
}

/** The place, as the store needs it. */
export interface SharedPlace {
  /** What is kept there, as it was read last; null: nothing, or the cluster is this proxy's alone. */
  recordOf(cluster: string): SharedRecord | null;
  /** No epoch up to this one may be used again: it is there, or an attempt to put it there was not answered. */
  lastEpochOf(cluster: string): number;
  /** Puts it there, and resolves when it is; rejects when it is not, or when only another proxy may. */
  publish(cluster: string, state: ClusterState, epoch: number): Promise<void>;
}

/** A record as it is kept. */
export function formatRecord({ epoch, state, by }: SharedRecord): string {
  // How far a promotion has come is for the other of a pair.
  const { promotion: _, ...decided } = state;
  const document: unknown = JSON.parse(
    formatState({ epoch, clusters: { it: { ...decided, epoch } }, backends: {} }),
  );
  return JSON.stringify({ by, ...(document as object) });
}

/** What was kept, or what is wrong with it. */
export function parseRecord(text: string): SharedRecord | string {
  const parsed = parseState(text);
  if (typeof parsed === 'string') return parsed;
  const state = parsed.clusters['it'];
  if (state === undefined) return 'it has no cluster';
  const { by } = JSON.parse(text) as { by?: unknown };
  return { epoch: state.epoch ?? parsed.epoch, state, by: typeof by === 'string' ? by : 'somebody' };
}

/** Nothing of it has to be put there: the same is there already, whoever has put it. */
export function isSameRecord(record: SharedRecord, state: ClusterState, epoch: number): boolean {
  return formatRecord({ ...record, by: '' }) === formatRecord({ epoch, state, by: '' });
}
