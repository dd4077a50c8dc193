/**
 * What tests of failover by itself say again and again: a dbproxy that acts by itself, and what is to come of it.
 */
import assert from 'node:assert/strict';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { findBrokenPromises } from '../chaos/verify.ts';
import { CREATE_WRITTEN, Workload } from '../chaos/workload.ts';
import { WORDS, type LabFlavour } from '../lab/flavours.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ConfigSections, LogEvent, ProxyProcess } from '../lab/proxy.ts';
import { eventually } from './eventually.ts';

const LONG_MS = 20_000;
const A_DAY_MS = 86_400_000;
const AUTOMATIC = {
  failover: 'auto',
  failover_cooldown: '0s',
  semi_sync: 'require',
  rejoin: 'auto',
  enforce_read_only: 'on',
};

export function configWith(cluster: Record<string, string | number> = {}): ConfigSections {
  return { 'cluster main': { ...AUTOMATIC, ...cluster }, 'backend db2': { rw_weight: 1 } };
}

export async function diagnoses(proxy: ProxyProcess): Promise<string[]> {
  return (await proxy.admin('SHOW DIAGNOSES')).map((row) => String(row['diagnosis']));
}

export async function untilWell(proxy: ProxyProcess): Promise<void> {
  await eventually(async () => {
    const rows = await proxy.admin('SHOW DIAGNOSES');
    assert.deepEqual(
      rows.map((row) => row['diagnosis']),
      ['AllHealthy'],
      JSON.stringify(rows),
    );
  }, LONG_MS);
}

/** All is well, and this primary waits for its replica as long as it takes: now nothing acknowledged can be lost. */
export async function untilSafe(
  proxy: ProxyProcess,
  primary: DatabaseServer,
  flavour: LabFlavour,
): Promise<void> {
  const timeout = WORDS[flavour].semiSync!.primary.replace(/enabled$/, 'timeout');
  await eventually(async () => {
    const [row] = await primary.query(`select @@global.${timeout} as value`);
    assert.ok(Number(row?.['value']) > A_DAY_MS);
  }, LONG_MS);
  await untilWell(proxy);
}

/** Two servers with a table for what writers write, and the dbproxy that guards them, once nothing acknowledged can be lost. */
export async function startGuarded(
  flavour: LabFlavour,
  cluster: Record<string, string | number> = {},
): Promise<{ lab: Lab; proxy: ProxyProcess }> {
  const lab = await startPair({ flavour });
  try {
    await lab.db1.query(CREATE_WRITTEN);
    const proxy = await lab.startProxy({ config: configWith(cluster) });
    await untilSafe(proxy, lab.db1, flavour);
    return { lab, proxy };
  } catch (error) {
    await lab.stop();
    throw error;
  }
}

export async function primaryOf(proxy: ProxyProcess): Promise<string | null> {
  const [row] = await proxy.admin("SHOW BACKENDS WHERE role = 'primary'");
  return row === undefined ? null : String(row['name']);
}

export async function isReadOnly(server: DatabaseServer): Promise<boolean> {
  const [row] = await server.query('select @@global.read_only as value');
  return Number(row?.['value']) === 1;
}

/** The first event of this name from index `from` of the log on. */
export function eventSince(
  proxy: ProxyProcess,
  from: number,
  name: string,
  timeoutMs = LONG_MS,
): Promise<LogEvent> {
  return proxy.waitForEvent(name, (event) => proxy.log.indexOf(event) >= from, timeoutMs);
}

export async function writeOne(proxy: ProxyProcess, id: number): Promise<void> {
  const connection = await proxy.connect('write');
  try {
    await connection.query(`insert into written (id, part, server, at_ms) values (${id}, 1, @@server_id, 0)`);
  } finally {
    connection.destroy();
  }
}

function tail(proxy: ProxyProcess): string {
  return proxy.log
    .filter(({ event }) => /^(promote|diagnosis|care|failover|rejoin)\./.test(event))
    .slice(-30)
    .map((event) => JSON.stringify(event))
    .join('\n');
}

/** Runs `happen` under eight clients that write; answers what they were told, when writes have gone on for a while. */
export async function underWriters(
  proxy: ProxyProcess,
  first: number,
  happen: () => Promise<void>,
): Promise<Workload> {
  const workload = new Workload(proxy.ports, { clients: 8, paceMs: 2, first });
  try {
    await eventually(() => assert.ok(workload.acknowledged > 50));
    await happen();
    const before = workload.acknowledged;
    await eventually(() => assert.ok(workload.acknowledged > before + 50), LONG_MS);
  } catch (error) {
    const found = await proxy.admin('SHOW DIAGNOSES');
    throw new Error(`writes did not go on: ${JSON.stringify(found)}\n${tail(proxy)}`, { cause: error });
  } finally {
    await workload.stop();
  }
  assert.deepEqual(workload.hung, []);
  return workload;
}

export async function assertAllThere(server: DatabaseServer, workload: Workload): Promise<void> {
  const rows = await server.query('select id, part from demo.written');
  assert.deepEqual(findBrokenPromises(workload.entries, rows), []);
}

/** The old primary has come back: it follows, or it has been told what it has that nobody else has. */
export async function assertFencedAndAccountedFor(proxy: ProxyProcess, old: DatabaseServer): Promise<void> {
  await eventually(async () => {
    const told = proxy.log.some(({ event, subject }) => event === 'rejoin.diverged' && subject === old.name);
    const found = await diagnoses(proxy);
    assert.ok(told || found.join() === 'AllHealthy', found.join());
    assert.equal(await isReadOnly(old), true);
  }, LONG_MS);
}

/** What SHOW BACKENDS says of a server; undefined: it does not know it. */
export async function backendRow(
  proxy: ProxyProcess,
  name: string,
): Promise<Record<string, unknown> | undefined> {
  const [row] = await proxy.admin(`SHOW BACKENDS WHERE name = '${name}'`);
  return row;
}

/** Resolves when a server is online in this role. */
export function untilRole(proxy: ProxyProcess, name: string, role: string): Promise<void> {
  return eventually(async () => {
    const row = await backendRow(proxy, name);
    assert.deepEqual([row?.['role'], row?.['state']], [role, 'online'], JSON.stringify(row));
  }, 20_000);
}
