import type { PoolRequest } from '../backend/pool.ts';

/** What a session asks of whichever pool; each question has a time of its own. */
export type SessionRequest = Omit<PoolRequest, 'timeoutMs'>;
