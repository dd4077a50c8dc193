/**
 * Question: what does the proxy cost where a query costs least? One row by its primary key, as text, each
 * query a round trip of its own. With 1 client it is about latency, with 32 about throughput, with 128 about
 * many connections. On the write endpoint that is the bare relay; the read endpoint looks at each statement, and
 * the split endpoint classifies it, finds a connection for it, and may let it travel with others.
 */
import type { Endpoint, Load } from './load.ts';

const CLIENTS = [1, 32, 128];
const ENDPOINTS = ['write', 'read', 'split'] as const satisfies readonly Endpoint[];

export const pointSelects: readonly Load[] = ENDPOINTS.flatMap((endpoint) =>
  CLIENTS.map((clients) => ({
    name: `point-select-${endpoint}-${clients}`,
    title: `point select, ${endpoint}, ${clients} client${clients === 1 ? '' : 's'}`,
    endpoint,
    clients,
    script: 'oltp_point_select',
    options: ['--skip-trx=on'],
    quick: endpoint === 'write' || clients === 32 || (endpoint === 'split' && clients === 128),
  })),
);
