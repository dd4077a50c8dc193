/**
 * What EXPLAIN SESSION says of the sessions of an endpoint, for tests that ask what holds them.
 */
import assert from 'node:assert/strict';
import { PIN_WORDS } from '../../src/frontend/session-record.ts';
import { type ProxyProcess } from '../lab/proxy.ts';

/**
 * Why the sessions of a listener must keep their connections for longer than to their next statement, in words;
 * there must be one session at least.
 */
export async function pinsOf(proxy: ProxyProcess, listener: string): Promise<string[]> {
  const sessions = await proxy.admin(`SHOW SESSIONS WHERE listener = '${listener}'`);
  assert.ok(sessions.length > 0, 'its session is there');
  const pins: string[] = [];
  for (const { id } of sessions) {
    const rows = await proxy.admin(`EXPLAIN SESSION ${Number(id)}`);
    pins.push(...rows.filter(({ item }) => item === 'pin').map(({ value }) => String(value)));
  }
  return pins.filter((pin) => pin !== PIN_WORDS.unread);
}
