/**
 * The text of keepalived.conf, and what the real keepalived says of it.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ProxyConfig } from '../../../src/config/config.ts';
import { parseConfig } from '../../../src/config/load.ts';
import { keepalivedText, whichHost, type TextSource } from '../../../src/keepalived/config-text.ts';

const REST = `
[admin]
user = admin
password = a
[cluster main]
monitor_user = m
monitor_password = m
replication_user = r
replication_password = r
[backend db1]
cluster = main
address = 10.0.0.1:3306
rw_weight = 1
[listener write]
cluster = main
address = 10.0.0.100:3306
[listener read]
cluster = main
mode = read
address = 10.0.0.101:3306
`;
const BOTH = 'vip = 10.0.0.100/24, 10.0.0.101/24\ninterface = eth0';
const HOSTS = 'hosts = 10.0.0.1, 10.0.0.2';

function configOf(keepalived: string): ProxyConfig {
  const context = { file: 'proxy.conf', env: {}, readFile: () => '', cores: 1 };
  return parseConfig(`${REST}\n[keepalived]\n${keepalived}`, context);
}

function textOf(keepalived: string, changes: Partial<TextSource> = {}): string {
  return keepalivedText({
    config: configOf(keepalived),
    configPath: '/etc/dbproxy/proxy.conf',
    program: ['/usr/bin/true'],
    hostname: 'db one',
    host: null,
    ...changes,
  });
}

/** The lines of one block, without comments and blanks around. */
function blockOf(text: string, head: string): string[] {
  const lines = text.split('\n');
  const start = lines.indexOf(`${head} {`);
  assert.notEqual(start, -1, `there is ${head}`);
  const end = lines.indexOf('}', start);
  return lines
    .slice(start + 1, end)
    .map((line) => line.trim())
    .filter((line) => !line.startsWith('#'));
}

describe('keepalived.conf', () => {
  test('has the check run before all other programs', () => {
    const lines = blockOf(textOf(BOTH), 'vrrp_script dbproxy_check');
    const check = '/usr/bin/true keepalived check --config /etc/dbproxy/proxy.conf';
    assert.equal(lines[0], `script "/usr/bin/nice -n -20 ${check}"`);
  });

  test('has who keeps the addresses after a cut tell the neighbours within a second', () => {
    const lines = blockOf(textOf(BOTH), 'global_defs');
    // The last to be heard of the addresses may be the host that gives them up. Without the first line keepalived tells again
    // only if it happens to hear the other one before that has heard it; its second telling, 5 s later by default, is for who
    // has missed the first, while the other one still had them.
    assert.ok(lines.includes('vrrp_higher_prio_send_advert true'));
    assert.ok(lines.includes('vrrp_garp_lower_prio_delay 1'));
  });

  test('has all addresses in one instance when they live together', () => {
    const text = textOf(BOTH);
    assert.equal(text.match(/^vrrp_instance /gm)!.length, 1);
    const lines = blockOf(text, 'vrrp_instance vi_dbproxy_51');
    assert.deepEqual(lines.slice(0, 6), [
      'state BACKUP',
      'nopreempt',
      'interface eth0',
      'virtual_router_id 51',
      'priority 100',
      'advert_int 1.00',
    ]);
    assert.ok(lines.includes('10.0.0.100/24 dev eth0') && lines.includes('10.0.0.101/24 dev eth0'));
    assert.ok(!lines.some((line) => line.startsWith('unicast')));
  });

  test('has an instance for reads that prefers the other host when they live apart', () => {
    const priorities = ([1, 2] as const).map((host) => {
      const text = textOf(`${BOTH}\n${HOSTS}\nvip_layout = apart\ninstance = vi_shop`, { host });
      const [write, read] = ['vi_shop', 'vi_shop_read'].map((name) => blockOf(text, `vrrp_instance ${name}`));
      assert.ok(write!.includes('10.0.0.100/24 dev eth0') && !write!.includes('10.0.0.101/24 dev eth0'));
      assert.ok(read!.includes('10.0.0.101/24 dev eth0') && !read!.includes('10.0.0.100/24 dev eth0'));
      assert.ok(write!.includes('virtual_router_id 51') && read!.includes('virtual_router_id 52'));
      assert.ok(
        [write, read].every((lines) => lines!.includes('nopreempt') && lines!.includes('state BACKUP')),
      );
      return [write, read].map((lines) => lines!.find((line) => line.startsWith('priority')));
    });
    assert.deepEqual(priorities, [
      ['priority 100', 'priority 90'],
      ['priority 90', 'priority 100'],
    ]);
  });

  test('names each host to the other with unicast', () => {
    const of = (host: 1 | 2): string => textOf(`${BOTH}\n${HOSTS}\nunicast = on`, { host });
    assert.match(of(1), /unicast_src_ip 10\.0\.0\.1\n +unicast_peer \{\n +10\.0\.0\.2\n/);
    assert.match(of(2), /unicast_src_ip 10\.0\.0\.2\n +unicast_peer \{\n +10\.0\.0\.1\n/);
  });

  test('has addresses of the other kind of IP beside the instance', () => {
    const text = textOf('vip = fd00::0:100/64, 10.0.0.100/24\ninterface = eth0');
    assert.match(
      text,
      /virtual_ipaddress \{\n +fd00::100\/64 dev eth0\n +\}\n +virtual_ipaddress_excluded \{\n +10\.0\.0\.100\/24 dev eth0/,
    );
  });

  test('tells notify of the addresses of each instance, and of the gateway', () => {
    const text = textOf(`${BOTH}\n${HOSTS}\nvip_layout = apart\ngateway = 10.0.0.254`, { host: 1 });
    const of = (vip: string, event: string, state: string): string =>
      `notify_${event} "/usr/bin/true keepalived notify --state=${state} --vip=${vip} --gw=10.0.0.254 --config /etc/dbproxy/proxy.conf"`;
    const read = blockOf(text, 'vrrp_instance vi_dbproxy_51_read');
    for (const [event, state] of [
      ['master', 'master'],
      ['backup', 'backup'],
      ['fault', 'fault'],
      ['stop', 'backup'],
    ] as const) {
      assert.ok(read.includes(of('10.0.0.101', event, state)), event);
    }
    assert.ok(text.includes(of('10.0.0.100', 'master', 'master')));
  });

  test('writes fractions of seconds', () =>
    assert.match(textOf(`${BOTH}\nadvert_int = 250ms`), /advert_int 0\.25\n/));

  const refused: [what: string, keepalived: string, changes: Partial<TextSource>, told: RegExp][] = [
    ['without addresses', '', {}, /vip: is missing/],
    [
      'on a third host',
      `${BOTH}\n${HOSTS}`,
      {},
      /neither 10\.0\.0\.1 nor 10\.0\.0\.2 is an address of this host/,
    ],
    ['apart on no host', `${BOTH}\nvip_layout = apart`, {}, /give --host 1 or --host 2/],
    [
      'with odd paths',
      BOTH,
      { configPath: '/etc/my dbproxy/proxy.conf' },
      /'\/etc\/my dbproxy\/proxy\.conf' has characters/,
    ],
  ];
  for (const [what, keepalived, changes, told] of refused) {
    test(`is refused ${what}`, () =>
      assert.throws(() => textOf(keepalived, changes), { code: 'DBPROXY_CONFIG', message: told }));
  }
});

test('which host this is: as it was said, or by its own addresses', () => {
  const hosts = ['10.0.0.1', '10.0.0.2'];
  assert.equal(whichHost(2, hosts, ['10.0.0.1']), 2);
  assert.equal(whichHost(undefined, hosts, ['127.0.0.1', '10.0.0.1']), 1);
  assert.equal(whichHost(undefined, hosts, ['10.0.0.2']), 2);
  assert.equal(whichHost(undefined, hosts, ['10.0.0.3']), null);
  assert.equal(whichHost(undefined, [], ['10.0.0.3']), null);
});

const isRoot = process.getuid?.() === 0;
const skip = isRoot ? false : 'only root may have a network interface of its own to show keepalived';

describe('keepalived --config-test', { skip }, () => {
  /** In a network of its own, with the interface that the text names. */
  function complaintsAbout(text: string): string {
    const folder = mkdtempSync(join(tmpdir(), 'dbproxy-keepalived-'));
    try {
      const path = join(folder, 'keepalived.conf');
      writeFileSync(path, text, { mode: 0o600 });
      const script = `ip link add eth0 type veth peer name peer0 && ip link set eth0 up && exec keepalived --config-test -f ${path}`;
      const { status, stdout, stderr } = spawnSync('unshare', ['--net', 'sh', '-c', script], {
        encoding: 'utf8',
      });
      return `${status} ${stdout}${stderr}`.trim();
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  const layouts: [what: string, keepalived: string][] = [
    ['together', BOTH],
    ['apart', `${BOTH}\n${HOSTS}\nvip_layout = apart`],
    [
      'unicast, fractions and two kinds of IP',
      `vip = 10.0.0.100/24, fd00::1/64\ninterface = eth0\n${HOSTS}\nunicast = on\nadvert_int = 30ms`,
    ],
  ];
  for (const [what, keepalived] of layouts) {
    for (const host of [1, 2] as const) {
      test(`has nothing to say: ${what}, host ${host}`, () => {
        assert.equal(complaintsAbout(textOf(keepalived, { host })), '0');
      });
    }
  }

  test('would say so', () => {
    assert.match(complaintsAbout(textOf(BOTH).replace('nopreempt', 'noprempt')), /^[1-9]\d* .*noprempt/s);
  });
});
