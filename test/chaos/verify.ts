/**
 * What must be true after every round, whatever was done in it: what was acknowledged is there once, what was refused
 * is not, a transaction is there whole or not at all, all servers hold the same, and no two servers were written at
 * the same time.
 */
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import type { ChaosCluster } from './cluster.ts';
import type { Entry } from './workload.ts';
import { eventually } from '../support/eventually.ts';

const CATCH_UP_MS = 60_000;
const SELECT_WRITTEN = 'select id, part from demo.written';

/** The violations, in words; empty when all is right. */
export async function verify(cluster: ChaosCluster, entries: readonly Entry[]): Promise<string[]> {
  const primary = await cluster.primary();
  if (primary === null) return ['there is no primary'];
  const least = entries.reduce((low, { id }) => Math.min(low, id), Infinity);
  const rows =
    entries.length === 0
      ? []
      : await cluster.machine(primary).server.query(`${SELECT_WRITTEN} where id >= ${least}`);
  const violations = findBrokenPromises(entries, rows);
  violations.push(...(await findTwoWriters(cluster.machine(primary).server)));
  violations.push(...(await compareServers(cluster, primary)));
  return violations;
}

/** What a client was told that is not true of the rows that are there. */
export function findBrokenPromises(
  entries: readonly Entry[],
  rows: readonly Readonly<Record<string, unknown>>[],
): string[] {
  const found = new Map<number, number[]>();
  for (const row of rows) {
    const id = Number(row['id']);
    const parts = found.get(id);
    if (parts === undefined) found.set(id, [Number(row['part'])]);
    else parts.push(Number(row['part']));
  }
  const broken: string[] = [];
  for (const { id, parts, outcome, error } of entries) {
    const there = found.get(id) ?? [];
    const words = `${id} (${outcome}${error === '' ? '' : `: ${error}`})`;
    if (new Set(there).size !== there.length) broken.push(`DUPLICATE: ${words} is there twice`);
    else if (outcome === 'acknowledged' && there.length < parts)
      broken.push(`LOST: ${words} has ${there.length} of ${parts} rows`);
    else if (outcome === 'refused' && there.length > 0) broken.push(`REFUSED BUT THERE: ${words}`);
    else if (there.length > 0 && there.length < parts) broken.push(`HALF: ${words}`);
  }
  return broken;
}

/**
 * Rows are numbered as they are written, and each holds the id of the server that wrote it: in the order of their
 * numbers the servers take turns as often as there were promotions, and not once more.
 */
export async function findTwoWriters(server: DatabaseServer): Promise<string[]> {
  const rows = await server.query(
    'select count(*) as turns from (select server, lag(server) over (order by seq) as earlier from demo.written) as t where server <> earlier',
  );
  const turns = Number(rows[0]!['turns']);
  const epochs = await server.query('select max(epoch) as epoch from dbproxy.epoch').catch(() => []);
  const promotions = Math.max(0, Number(epochs[0]?.['epoch'] ?? 1) - 1);
  return turns > promotions
    ? [`TWO WRITERS: the server that writes changed ${turns} times, with ${promotions} promotions`]
    : [];
}

async function compareServers(cluster: ChaosCluster, primary: string): Promise<string[]> {
  const checksum = async (name: string): Promise<string> => {
    const [row] = await cluster.machine(name).server.query('checksum table demo.written');
    return String(row!['Checksum']);
  };
  const expected = await checksum(primary);
  const violations: string[] = [];
  for (const name of cluster.names.filter((one) => one !== primary)) {
    try {
      await eventually(async () => {
        const found = await checksum(name);
        if (found !== expected) throw new Error(`checksum ${found}, on ${primary} ${expected}`);
      }, CATCH_UP_MS);
    } catch (error) {
      violations.push(`DIFFERENT: ${name}: ${(error as Error).message}`);
    }
  }
  return violations;
}
