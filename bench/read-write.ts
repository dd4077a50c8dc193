/**
 * Question: what does the proxy cost in ordinary work? sysbench's transaction of 14 reads and 4 writes
 * between BEGIN and COMMIT, with 16 clients, committed to a primary that waits for its replica.
 */
import type { Endpoint, Load } from './load.ts';

const ENDPOINTS = ['write', 'mixed'] as const satisfies readonly Endpoint[];

export const readWrites: readonly Load[] = ENDPOINTS.map((endpoint) => ({
  name: endpoint === 'write' ? 'read-write-16' : 'read-write-split-16',
  title: `read-write, ${endpoint === 'write' ? 'write' : 'split'}, 16 clients`,
  endpoint,
  clients: 16,
  script: 'oltp_read_write',
  options: [],
  quick: true,
}));
