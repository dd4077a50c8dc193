import assert from 'node:assert/strict';
import { test } from 'node:test';
import { offerOf, RELAYED_CAPABILITIES } from '../../../src/frontend/offer.ts';
import { Capability, ExtendedCapability } from '../../../src/protocol/constants.ts';
import type { ServerGreeting } from '../../../src/topology/snapshot.ts';
import { backendView } from '../../support/fake-worker.ts';
import { MARIADB_10_11, MYSQL_5_6, MYSQL_9_7 } from '../../support/greetings.ts';

function offer(greetings: Record<string, ServerGreeting | null>, primary: string | null = null) {
  const members = Object.entries(greetings).map(([name, greeting]) => backendView(name, { greeting }));
  return offerOf(members, primary);
}

const NEWER = Capability.DEPRECATE_EOF | Capability.SESSION_TRACK;
const NEWEST = Capability.OPTIONAL_RESULTSET_METADATA | Capability.QUERY_ATTRIBUTES;

test('a flag that shapes the answers is offered only when every server seen has it', () => {
  const cases: [name: string, greetings: (ServerGreeting | null)[], flags: number][] = [
    ['MariaDB', [MARIADB_10_11], NEWER],
    ['MySQL 9.7', [MYSQL_9_7], NEWER | NEWEST],
    ['MySQL 5.6', [MYSQL_5_6], 0],
    ['5.6 beside 9.7', [MYSQL_9_7, MYSQL_5_6], 0],
    ['one not seen yet', [MYSQL_9_7, null], NEWER | NEWEST],
    ['none seen', [null], 0],
    ['none', [], 0],
  ];
  for (const [name, greetings, flags] of cases) {
    const { capabilities } = offer(Object.fromEntries(greetings.map((one, index) => [`b${index}`, one])));
    assert.equal(capabilities & (NEWER | NEWEST), flags, name);
  }
});

test("MariaDB's upper flags are offered when every server has them, and never COM_MULTI", () => {
  const { BULK_UNIT_RESULTS, COM_MULTI, CACHE_METADATA } = ExtendedCapability;
  const newer = { ...MARIADB_10_11, extendedCapabilities: 0x1d | BULK_UNIT_RESULTS | COM_MULTI };
  assert.equal(offer({ a: MARIADB_10_11 }).extendedCapabilities, 0x1d);
  assert.equal(offer({ a: newer }).extendedCapabilities, 0x1d | BULK_UNIT_RESULTS);
  const older = { ...MARIADB_10_11, extendedCapabilities: 0x1d & ~CACHE_METADATA };
  assert.equal(offer({ a: newer, b: older }).extendedCapabilities, 0x1d & ~CACHE_METADATA);
  assert.equal(offer({ a: MYSQL_9_7 }).extendedCapabilities, undefined);
  assert.equal(offer({ a: MARIADB_10_11, b: MYSQL_5_6 }).extendedCapabilities, undefined);
  assert.equal(offer({ a: null }).extendedCapabilities, undefined);
});

test('the channel is the listener’s affair: neither TLS nor compression follows from the servers', () => {
  const { capabilities } = offer({ a: MYSQL_9_7 });
  assert.equal(capabilities & (Capability.SSL | Capability.COMPRESS | Capability.ZSTD_COMPRESSION), 0);
  assert.notEqual(capabilities & Capability.CONNECT_ATTRS, 0);
});

test("version, collation and plugin are the primary's, else those of any server seen", () => {
  const other = { ...MYSQL_9_7, serverVersion: '9.7.0', collation: 33, plugin: 'sha256_password' };
  const greeted = offer({ a: MYSQL_9_7, b: other }, 'b');
  assert.equal(greeted.serverVersion, '9.7.0');
  assert.equal(greeted.collation, 33);
  assert.equal(greeted.defaultPlugin, 'sha256_password');
  assert.equal(offer({ a: null, b: MYSQL_9_7 }, 'a').serverVersion, MYSQL_9_7.serverVersion);
  assert.match(offer({ a: null }).serverVersion, /MariaDB/);
});

test('flags that shape the answers are asked of the server as well, those of a login alone are not', () => {
  for (const flag of [
    Capability.DEPRECATE_EOF,
    Capability.MULTI_RESULTS,
    Capability.FOUND_ROWS,
    Capability.LOCAL_FILES,
  ]) {
    assert.notEqual(RELAYED_CAPABILITIES & flag, 0);
  }
  assert.equal(RELAYED_CAPABILITIES & (Capability.CONNECT_WITH_DB | Capability.PLUGIN_AUTH), 0);
});
