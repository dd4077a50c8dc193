/**
 * The verdict that decides on the virtual addresses, row by row.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCheckConfig } from '../../../src/config/for-check.ts';
import { parseHaconf, type HaconfReading } from '../../../src/keepalived/haconf.ts';
import { verdictOf, type CheckSight } from '../../../src/keepalived/check.ts';

const WELL: CheckSight = {
  process: { status: 200, line: 'dbproxy is running' },
  read: { status: 200, line: 'main: reads go to db2' },
  gateway: { kind: 'reachable' },
  gatewayName: '10.0.0.254',
  haconf: null,
};

const allBad: Partial<CheckSight> = { process: { silent: 'gone' }, read: { silent: 'gone' } };
const said = (maintenance: string, errorMode: string): HaconfReading =>
  parseHaconf(`${maintenance} dbproxy /usr 3001 null null ${errorMode} vi_dbproxy_51 null null`, null);

const rows: [what: string, changes: Partial<CheckSight>, isWell: boolean, why: RegExp][] = [
  ['all is well', {}, true, /^well: main: reads go to db2$/],
  ['no gateway is configured', { gateway: null }, true, /^well: /],
  [
    'the process is gone',
    { process: { silent: 'ECONNREFUSED' } },
    false,
    /^dbproxy does not answer: ECONNREFUSED/,
  ],
  [
    'the process hangs at the question',
    { read: { silent: 'no answer' } },
    false,
    /^dbproxy does not say whether/,
  ],
  [
    'no database is up',
    { read: { status: 503, line: 'main: no reads: no server is up' } },
    true,
    /^well, but no database: main: no reads/,
  ],
  ['it may not be asked', { read: { status: 403, line: 'not in allow' } }, true, /may not be asked/],
  [
    'the gateway is silent',
    { gateway: { kind: 'unreachable', reason: 'no answer to ping' } },
    false,
    /^the gateway 10\.0\.0\.254 does not answer: no answer to ping/,
  ],
  [
    'the gateway cannot be asked',
    { gateway: { kind: 'broken', reason: 'no program ping' } },
    true,
    /^well: .*; the gateway 10\.0\.0\.254 could not be asked: no program ping/,
  ],
  ['haconf says maintenance, whatever else is', { ...allBad, haconf: said('Y', 'Y') }, true, /^maintenance/],
  ['haconf says error mode', { haconf: said('N', 'Y') }, false, /^error mode/],
  ['haconf says neither', { haconf: said('N', 'N') }, true, /^well: main/],
  [
    'haconf says neither, and the process is gone',
    { ...allBad, haconf: said('N', 'N') },
    false,
    /^dbproxy does not/,
  ],
  [
    'haconf is wrong',
    { haconf: { problem: 'line 1: …' } },
    true,
    /^well: main.*; haconf does not count: line 1/,
  ],
];
for (const [what, changes, isWell, why] of rows) {
  test(`${what}: ${isWell ? 'well' : 'not well'}`, () => {
    const verdict = verdictOf({ ...WELL, ...changes });
    assert.equal(verdict.isWell, isWell);
    assert.match(verdict.why, why);
    assert.doesNotMatch(verdict.why, /\n/);
  });
}

test('what is asked is read even from a file that is being edited', () => {
  const read = (text: string): unknown => parseCheckConfig(text, '/etc/proxy.conf', {});
  const usual = {
    httpAddress: { kind: 'tcp', host: '127.0.0.1', port: 9104 },
    gateway: null,
    timeoutMs: 400,
    haconf: null,
    instance: null,
  };
  assert.deepEqual(read(''), usual);
  assert.deepEqual(read('[http\naddress = 1\n[keepalived]\ngateway = 10.0.0\ncheck_timeout = 5'), usual);
  assert.deepEqual(
    read(
      '[http]\naddress = 127.0.0.1:1\n[nonsense\n[keepalived]\ngateway = 10.0.0.254\ncheck_timeout = 300ms\nhaconf = haconf',
    ),
    {
      httpAddress: { kind: 'tcp', host: '127.0.0.1', port: 1 },
      gateway: '10.0.0.254',
      timeoutMs: 300,
      haconf: '/etc/haconf',
      instance: null,
    },
  );
});

test('the instance that haconf is to name is the written one, or follows from the id', () => {
  const read = (keys: string): unknown =>
    parseCheckConfig(`[keepalived]\n${keys}`, '/etc/proxy.conf', {}).instance;
  const vip = 'vip = 10.0.0.3/24\n';
  assert.equal(read(vip), 'vi_dbproxy_51');
  assert.equal(read(`${vip}virtual_router_id = 73`), 'vi_dbproxy_73');
  assert.equal(read(`${vip}instance = vi_shop`), 'vi_shop');
  for (const any of ['', 'virtual_router_id = 73', `${vip}instance = a/b`, `${vip}virtual_router_id = x`])
    assert.equal(read(any), null, any);
});
