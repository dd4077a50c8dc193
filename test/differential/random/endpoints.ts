/**
 * The endpoints that scenarios run through: each a listener of one of two proxies on the same pair. What
 * the generator must know of them is here, too: how many sessions, and how many of these may be pinned to
 * a connection, where connections are few.
 */
import type { ProfileName } from './scenario.ts';

export interface Endpoint {
  /** Which proxy; null: no proxy but the primary itself. */
  readonly proxy: 'wide' | 'narrow' | null;
  /** Keys of the listener. */
  readonly keys: Readonly<Record<string, string>>;
  /** How many sessions, where that is not left to the seed. */
  readonly sessions?: number;
  /** How many of them may do what pins them; all unless told otherwise. */
  readonly pinning?: number;
}

/** Short: a held replica makes most reads wait for so long. */
const CAUSAL_TIMEOUT = '20ms';
const SPLIT = { mode: 'split', causal_reads: 'global', causal_timeout: CAUSAL_TIMEOUT };

export const ENDPOINTS: Readonly<Record<ProfileName, Endpoint>> = {
  direct: { proxy: null, keys: {} },
  write: { proxy: 'wide', keys: { mode: 'write' } },
  session: { proxy: 'wide', keys: { ...SPLIT, pool: 'session' } },
  transaction: { proxy: 'wide', keys: { ...SPLIT, pool: 'transaction' } },
  pipelined: { proxy: 'wide', keys: { ...SPLIT, pool: 'transaction', pipelining: 'on' } },
  adaptive: { proxy: 'wide', keys: { ...SPLIT, pool: 'transaction', pipelining: 'adaptive' } },
  // Only one session, because it is promised no more than its own writes.
  own_writes: {
    proxy: 'wide',
    keys: { ...SPLIT, causal_reads: 'session', pool: 'transaction' },
    sessions: 1,
  },
  tight: {
    proxy: 'narrow',
    keys: { ...SPLIT, pool: 'transaction', pipelining: 'on' },
    sessions: 5,
    pinning: 2,
  },
};

/** Connections to each server that the narrow proxy may have: two for pinned sessions, one for the rest. */
export const NARROW_CONNECTIONS = 3;

/** Those that split, in the order in which a run goes round them. */
export const SPLIT_PROFILES: readonly ProfileName[] = [
  'transaction',
  'session',
  'pipelined',
  'tight',
  'own_writes',
  'adaptive',
];
