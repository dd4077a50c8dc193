/**
 * Question: what does the proxy cost an application without a connection pool? 8 clients that connect, run
 * one query and close, again and again. HAProxy opens a server connection for each; dbproxy logs the client
 * in itself and lends it a pooled one.
 */
import { join } from 'node:path';
import type { Endpoint, Load } from './load.ts';

const ENDPOINTS = ['write', 'split'] as const satisfies readonly Endpoint[];

export const shortConnections: readonly Load[] = ENDPOINTS.map((endpoint) => ({
  name: endpoint === 'write' ? 'short-connections-8' : 'short-connections-split-8',
  title: `short connections, ${endpoint}, 8 clients`,
  endpoint,
  clients: 8,
  script: join(import.meta.dirname, 'short-connections.lua'),
  options: [],
  quick: true,
}));
