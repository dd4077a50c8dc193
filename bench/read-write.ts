/**
 * Question: what does the proxy cost in ordinary work? sysbench's transaction of 14 reads and 4 writes
 * between BEGIN and COMMIT, with 16 clients, committed to a primary that waits for its replica.
 */
import type { Load } from './load.ts';

export const readWrite: Load = {
  name: 'read-write-16',
  title: 'read-write, write, 16 clients',
  endpoint: 'write',
  clients: 16,
  script: 'oltp_read_write',
  options: [],
  quick: true,
};
