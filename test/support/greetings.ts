/**
 * How real servers greet, read off their connections.
 */
import type { ServerGreeting } from '../../src/topology/snapshot.ts';

export const MARIADB_10_11: ServerGreeting = {
  serverVersion: '5.5.5-10.11.19-MariaDB-0+deb12u1-log',
  capabilities: 0x81fff7fe,
  extendedCapabilities: 0x1d,
  collation: 8,
  plugin: 'mysql_native_password',
};

export const MYSQL_9_7: ServerGreeting = {
  serverVersion: '9.7.4-2',
  capabilities: 0xdfffffff,
  extendedCapabilities: 0,
  collation: 255,
  plugin: 'caching_sha2_password',
};

export const MYSQL_5_6: ServerGreeting = {
  serverVersion: '5.6.24-log',
  capabilities: 0x807ff7ff,
  extendedCapabilities: 0,
  collation: 8,
  plugin: 'mysql_native_password',
};
