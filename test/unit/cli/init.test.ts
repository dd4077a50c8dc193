import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { systemClock } from '../../../src/base/clock.ts';
import { initPair } from '../../../src/cli/init.ts';
import { loadConfig } from '../../../src/config/load.ts';

const HOSTS = ['127.0.0.1', '10.0.0.2'] as const;

function folder(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'dbproxy-init-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

suite('dbproxy init', () => {
  test('writes files that nobody else reads and that check-config finds good', (t) => {
    const directory = folder(t);
    const { outcome, text } = initPair({ hosts: HOSTS, vips: ['127.0.0.100'], directory }, systemClock);
    assert.equal(outcome, 'done', text);
    for (const name of readdirSync(directory))
      assert.equal(statSync(join(directory, name)).mode & 0o777, 0o640, name);
    const { keepalived } = loadConfig(join(directory, 'proxy.conf'), {});
    assert.deepEqual([keepalived.interface, keepalived.vip], ['lo', ['127.0.0.100/8']]);
    const certificate = new X509Certificate(readFileSync(join(directory, 'admin.pem')));
    assert.equal(certificate.checkIP('10.0.0.2'), '10.0.0.2');
    assert.ok(
      certificate.validFromDate.getTime() < systemClock.wallMs() - 3_600_000,
      'valid for a clock that is behind',
    );
    assert.match(text, /scp -p .* 10\.0\.0\.2:/);
  });

  test('makes them readable for the service, whatever the umask is', (t) => {
    const directory = folder(t);
    const before = process.umask(0o077);
    t.after(() => process.umask(before));
    const { text } = initPair({ hosts: HOSTS, vips: ['127.0.0.100'], directory }, systemClock);
    for (const name of readdirSync(directory))
      assert.equal(statSync(join(directory, name)).mode & 0o777, 0o640, `${name}: ${text}`);
  });

  test('says why a folder does not take them', () => {
    const options = { hosts: HOSTS, vips: ['127.0.0.100'], directory: '/proc/self' };
    const { outcome, text } = initPair(options, systemClock);
    assert.equal(outcome, 'refused');
    assert.match(text, /^\/proc\/self does not take the files: E.*; nothing was written$/);
  });

  test('leaves none when the last one cannot be written', (t) => {
    const directory = folder(t);
    symlinkSync('/nowhere/at/all', join(directory, 'accounts.sql'));
    const { outcome } = initPair({ hosts: HOSTS, vips: ['127.0.0.100'], directory }, systemClock);
    assert.equal(outcome, 'refused');
    assert.deepEqual(readdirSync(directory), ['accounts.sql']);
  });

  test('writes over nothing', (t) => {
    const directory = folder(t);
    writeFileSync(join(directory, 'admin.key'), 'a key');
    const { outcome, text } = initPair({ hosts: HOSTS, vips: ['127.0.0.100'], directory }, systemClock);
    assert.equal(outcome, 'refused');
    assert.match(text, /admin\.key is there already; nothing was written/);
    assert.deepEqual(readdirSync(directory), ['admin.key']);
    assert.equal(readFileSync(join(directory, 'admin.key'), 'utf8'), 'a key');
  });

  const refused: [string, readonly [string, string], string, RegExp][] = [
    [
      'another host',
      ['192.0.2.7', '192.0.2.8'],
      '127.0.0.100',
      /neither 192\.0\.2\.7 nor 192\.0\.2\.8 is an address/,
    ],
    ['a virtual address that is a host', HOSTS, '10.0.0.2', /10\.0\.0\.2 is a virtual address/],
  ];
  for (const [what, hosts, vip, words] of refused) {
    test(`refuses ${what}`, (t) => {
      const directory = folder(t);
      const { outcome, text } = initPair({ hosts, vips: [vip], directory }, systemClock);
      assert.equal(outcome, 'refused');
      assert.match(text, words);
      assert.deepEqual(readdirSync(directory), []);
    });
  }

  test('names the script that makes the folder', () => {
    const options = { hosts: HOSTS, vips: ['127.0.0.100'], directory: '/nowhere/at/all' };
    assert.match(
      initPair(options, systemClock).text,
      /there is no folder \/nowhere\/at\/all; scripts\/install\.sh/,
    );
  });
});
