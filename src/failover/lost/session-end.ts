/**
 * Whether a session that has lost its connection still runs at its server. As long as it does, its COMMIT may take
 * effect at any moment: it may wait for a lock, or for a replica, and the server does not notice meanwhile that
 * nobody waits for its answer. What its log lacks says nothing before.
 */
import { sleep } from '../../base/clock.ts';
import { textOf, type SqlConnection } from './connection.ts';
import type { DumpBounds } from './dump.ts';

/** How often to look. */
const POLL_MS = 20;
/** A server tells how long it runs in whole seconds. */
const UPTIME_STEP_MS = 1_000;

/** True when it has ended within the time; it was there `agoMs` ago. It is not ended by force: its COMMIT would not wait for replicas. */
export async function hasEnded(
  connection: SqlConnection,
  threadId: number,
  agoMs: number,
  { clock, timeoutMs }: DumpBounds,
): Promise<boolean> {
  const startMs = clock.nowMs();
  const list = `SELECT COUNT(*) AS sessions FROM information_schema.processlist WHERE id = ${threadId}`;
  if (!(await seesOthers(connection, timeoutMs))) {
    throw new Error('the monitor user may not see the sessions of others (PROCESS)');
  }
  for (;;) {
    const [row] = await connection.run(list, timeoutMs);
    if (Number(row?.['sessions']) === 0) return true;
    const [uptime] = await connection.run("SHOW GLOBAL STATUS LIKE 'Uptime'", timeoutMs);
    const ranMs = Number(textOf(uptime?.['Value'])) * 1_000 + UPTIME_STEP_MS;
    const passedMs = clock.nowMs() - startMs;
    // The server has been started since: the number is another session's.
    if (ranMs < agoMs + passedMs) return true;
    if (passedMs >= timeoutMs) return false;
    await sleep(clock, POLL_MS);
  }
}

/** Without PROCESS, which may come by a role, the list has the account's own sessions alone. */
async function seesOthers(connection: SqlConnection, timeoutMs: number): Promise<boolean> {
  const me = `CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')`;
  const mine = `grantee = ${me} AND privilege_type = 'PROCESS'`;
  const others = `user <> SUBSTRING_INDEX(CURRENT_USER(), '@', 1)`;
  const [row] = await connection.run(
    `SELECT (SELECT COUNT(*) FROM information_schema.user_privileges WHERE ${mine})
       + (SELECT COUNT(*) FROM information_schema.processlist WHERE ${others}) AS seen`,
    timeoutMs,
  );
  return Number(row?.['seen']) > 0;
}
