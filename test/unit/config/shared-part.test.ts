import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseConfig } from '../../../src/config/load.ts';
import { differingParts, sharedPartOf } from '../../../src/config/shared-part.ts';

/** A configuration, with other words for some of its keys. */
function sharedPart(
  words: { password?: string; weight?: number; lag?: string; port?: number; timeout?: string } = {},
): string {
  const { password = 'one', weight = 1, lag = '10s', port = 6446, timeout = '3s' } = words;
  const text = `
[admin]
user = admin
password = ${password}
[cluster main]
monitor_user = m
monitor_password = ${password}
replication_user = r
replication_password = ${password}
max_lag = ${lag}
[backend db1]
cluster = main
address = 10.0.0.1:3306
rw_weight = ${weight}
[listener write]
cluster = main
address = 0.0.0.0:${port}
mode = write
[keepalived]
vip = 10.0.0.100/24
interface = eth0
[peer]
address = 10.0.0.1:6032, 10.0.0.2:6032
user = pair
password = ${password}
peer_timeout = ${timeout}
`;
  return sharedPartOf(parseConfig(text, { file: 'proxy.conf', env: {}, readFile: () => '', cores: 1 }));
}

describe('what both of a pair should have', () => {
  test('is the same for the same, whatever the passwords', () => {
    assert.deepEqual(differingParts(sharedPart(), sharedPart({ password: 'two' })), []);
  });

  test('differs by its parts', () => {
    assert.deepEqual(differingParts(sharedPart(), sharedPart({ weight: 2 })), ['backends']);
    assert.deepEqual(differingParts(sharedPart(), sharedPart({ weight: 2, lag: '5s' })), [
      'clusters',
      'backends',
    ]);
    assert.deepEqual(differingParts(sharedPart(), sharedPart({ port: 3999, timeout: '1s' })), [
      'ports',
      'peer_timeout',
    ]);
  });

  test('is compared where both have a part: another version may say it otherwise', () => {
    assert.deepEqual(differingParts(sharedPart(), 'a hash of all'), []);
  });
});
