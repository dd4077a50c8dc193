/**
 * Question: what does the proxy cost an application without a connection pool? 8 clients that connect, run
 * one query and close, again and again. HAProxy opens a server connection for each; dbproxy logs the client
 * in itself and lends it a pooled one.
 */
import { join } from 'node:path';
import type { Load } from './load.ts';

export const shortConnections: Load = {
  name: 'short-connections-8',
  title: 'short connections, write, 8 clients',
  endpoint: 'write',
  clients: 8,
  script: join(import.meta.dirname, 'short-connections.lua'),
  options: [],
  quick: true,
};
