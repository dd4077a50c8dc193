/**
 * What doctor says of a host of the pair: nothing of one that is well, and each fault with what mends it.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { ArbiterAnswer } from '../../../src/monitor/arbiter-answer.ts';
import {
  compareKeepalived,
  hostFindings,
  readArping,
  readRestart,
  type HostSurvey,
  type PairSurvey,
} from '../../../src/setup/host-rules.ts';
import type { PeerSight } from '../../../src/topology/peer-sight.ts';

const THERE: ArbiterAnswer = { kind: 'reachable' };
const SILENT: ArbiterAnswer = { kind: 'unreachable', reason: 'no answer to ping' };
const BROKEN: ArbiterAnswer = { kind: 'broken', reason: 'the program ping cannot be run' };
const OTHER_MAC = '02:00:00:00:00:02';
const STRANGER_MAC = '02:00:00:00:00:99';
const CONF = '/etc/keepalived/keepalived.conf';

function pairOf(over: Partial<PairSurvey> = {}): PairSurvey {
  return {
    configPath: '/etc/dbproxy/proxy.conf',
    interfaceName: 'eth0',
    interfaces: ['lo', 'eth0'],
    gateway: { name: '10.0.0.254', answer: THERE },
    others: [{ name: '10.0.0.2', answer: THERE, mac: OTHER_MAC }],
    installed: true,
    running: true,
    restart: 'always',
    file: { kind: 'same' },
    orders: { path: '/etc/haconf', maintenance: false, errorMode: false },
    vips: new Map(),
    ...over,
  };
}

const told = (pair: PairSurvey | null, arbiters: Record<string, ArbiterAnswer> = {}): string[] => {
  const answers = Object.entries(arbiters).map(([name, answer]) => ({ name, answer }));
  return toldOf({ version: '1.2.3', peer: null, arbiters: new Map([['main', answers]]), pair });
};

const toldOf = (host: HostSurvey): string[] =>
  hostFindings(host).map(
    ({ severity, subject, id, remedy }) =>
      `${severity} ${subject} ${id}${remedy === '' ? '' : ` → ${remedy}`}`,
  );

suite('a host', () => {
  test('that is well has no findings, nor one that is no host of a pair', () => {
    assert.deepEqual(told(pairOf(), { 'ping:10.0.0.254': THERE }), []);
    assert.deepEqual(told(null), []);
  });

  const renew = (verb: string): string =>
    `→ dbproxy keepalived config --config /etc/dbproxy/proxy.conf > ${CONF} && systemctl ${verb} keepalived`;
  const faults: readonly (readonly [what: string, over: Partial<PairSurvey>, finding: string])[] = [
    [
      'without the interface',
      { interfaces: ['lo', 'ens3'] },
      'error host interface → [keepalived] interface = (one of these)',
    ],
    [
      'without a gateway',
      { gateway: null },
      'warning host gateway → [keepalived] gateway = (an address that both hosts reach)',
    ],
    [
      'whose gateway does not answer',
      { gateway: { name: '10.0.0.254', answer: SILENT } },
      'error host gateway → ping -c 1 10.0.0.254',
    ],
    [
      'that cannot ping',
      { gateway: { name: '10.0.0.254', answer: BROKEN } },
      'warning host gateway → apt-get install iputils-ping',
    ],
    [
      'that does not reach the other one',
      { others: [{ name: '10.0.0.2', answer: SILENT, mac: null }] },
      'warning host other_host → ping -c 1 10.0.0.2',
    ],
    [
      'without keepalived',
      { installed: false, running: false, file: { kind: 'missing', path: CONF } },
      'error host keepalived → apt-get install keepalived',
    ],
    [
      'whose keepalived does not run',
      { running: false },
      'error host keepalived → systemctl enable --now keepalived',
    ],
    [
      'whose keepalived is not started again',
      { restart: 'no' },
      'warning host keepalived_restart → install -Dm 0644 /opt/dbproxy/contrib/systemd/keepalived.service.d/dbproxy.conf /etc/systemd/system/keepalived.service.d/dbproxy.conf && systemctl daemon-reload',
    ],
    [
      'without a keepalived.conf',
      { file: { kind: 'missing', path: CONF } },
      `error host keepalived_conf ${renew('restart')}`,
    ],
    [
      'with another keepalived.conf',
      { file: { kind: 'differs', path: CONF, is: 'priority 90', wanted: 'priority 100' } },
      `warning host keepalived_conf ${renew('reload')}`,
    ],
    [
      'whose keepalived.conf is for others to read',
      { file: { kind: 'unreadable', path: CONF } },
      'hint host keepalived_conf → run the doctor as root',
    ],
    [
      'of which nobody can tell which it is',
      { file: { kind: 'unknown', reason: '[keepalived] hosts: neither is here' } },
      'error host keepalived_conf',
    ],
    [
      'in maintenance',
      { orders: { path: '/etc/haconf', maintenance: true, errorMode: false } },
      'warning host haconf → column 1 of /etc/haconf: N',
    ],
    [
      'in error mode',
      { orders: { path: '/etc/haconf', maintenance: false, errorMode: true } },
      'warning host haconf → column 7 of /etc/haconf: N',
    ],
    [
      'whose haconf cannot be read',
      { orders: { path: '/etc/haconf', problem: 'column 1 (maintenance) is X, not Y or N' } },
      'error host haconf → mend /etc/haconf',
    ],
    [
      'whose address a stranger has',
      { vips: new Map([['10.0.0.100', { kind: 'taken', mac: STRANGER_MAC }]]) },
      'error host vip_in_use → give that machine another address, or change [keepalived] vip',
    ],
    [
      'whose address somebody has, and it is not known who the other host is',
      { vips: new Map([['10.0.0.100', { kind: 'taken', mac: OTHER_MAC }]]), others: [] },
      'warning host vip_in_use → give that machine another address, or change [keepalived] vip',
    ],
    [
      'that cannot ask for its address',
      { vips: new Map([['10.0.0.100', { kind: 'unasked', reason: 'arping is not installed' }]]) },
      'hint host vip_in_use',
    ],
  ];
  for (const [what, over, finding] of faults) {
    test(`${what}`, () => assert.deepEqual(told(pairOf(over)), [finding]));
  }

  test('whose addresses are free, or at the other host, is well', () => {
    const vips = new Map([
      ['10.0.0.100', { kind: 'taken', mac: OTHER_MAC }],
      ['10.0.0.101', { kind: 'free' }],
    ] as const);
    assert.deepEqual(told(pairOf({ vips })), []);
  });

  test('misses an arbiter, and has nobody to ask when there is none left', () => {
    assert.deepEqual(told(null, { 'ping:10.0.0.254': SILENT, 'tcp:10.0.0.3:22': THERE }), [
      'warning main arbiter',
    ]);
    assert.deepEqual(told(null, { 'ping:10.0.0.254': SILENT, 'tcp:10.0.0.3:22': BROKEN }), [
      'error main arbiter',
      'error main arbiter',
    ]);
  });
});

test('what has keepalived started again is in the project, and install.sh puts it where the doctor says', () => {
  const [restart] = hostFindings({
    version: '1.2.3',
    peer: null,
    arbiters: new Map(),
    pair: pairOf({ restart: 'no' }),
  });
  const [, from, to] = /^install -Dm 0644 \/opt\/dbproxy\/(\S+) (\S+) /.exec(restart!.remedy)!;
  const project = join(import.meta.dirname, '../../..');
  assert.match(readFileSync(join(project, from!), 'utf8'), /^\[Service\]\nRestart=always$/m);
  assert.ok(readFileSync(join(project, 'scripts/install.sh'), 'utf8').includes(`${from} ${to}\n`));
});

test('a unit is started again as systemd says, and nobody says so of one that is not there, or without systemd', () => {
  assert.equal(readRestart(0, 'Restart=no\nLoadState=loaded\n\n'), 'no');
  assert.equal(readRestart(0, 'LoadState=loaded\nRestart=always\n'), 'always');
  assert.equal(readRestart(0, 'Restart=no\nLoadState=not-found\n'), null);
  assert.equal(readRestart(1, '\nSystem has not been booted with systemd as init system'), null);
});

suite('a keepalived.conf', () => {
  const made =
    '# made by hand\nglobal_defs {\n    router_id a\n}\n\nvrrp_instance x {\n    priority 100\n}\n';

  test('is the same whatever its comments and blanks are', () => {
    const own =
      'global_defs {\n\trouter_id   a ! of host 1\n}\nvrrp_instance x { # the pair\npriority 100\n}';
    assert.deepEqual(compareKeepalived(CONF, own, made), { kind: 'same' });
  });

  const others = [
    [made.replace('100', '90'), 'priority 90', 'priority 100'],
    ['global_defs {\n    router_id a\n}\n', '', 'vrrp_instance x {'],
    [`${made}vrrp_instance y {\n}\n`, 'vrrp_instance y {', ''],
    ['', '', 'global_defs {'],
  ] as const;
  for (const [own, is, wanted] of others) {
    test(`that has '${is}' for '${wanted}' differs`, () => {
      assert.deepEqual(compareKeepalived(CONF, own, made), { kind: 'differs', path: CONF, is, wanted });
    });
  }
});

suite('the words of arping', () => {
  const header = 'ARPING 10.0.0.100 from 0.0.0.0 eth0\n';
  const cases = [
    [0, `${header}Sent 2 probes (2 broadcast(s))\nReceived 0 response(s)\n`, { kind: 'free' }],
    [
      1,
      `${header}Unicast reply from 10.0.0.100 [02:00:00:00:00:99]  0.672ms\nSent 1 probes (1 broadcast(s))\nReceived 1 response(s)\n`,
      { kind: 'taken', mac: STRANGER_MAC },
    ],
    [
      2,
      'arping: Device eth9 not available.\n',
      { kind: 'unasked', reason: 'arping ended with 2: arping: Device eth9 not available.' },
    ],
    // Debian's package arping, which is another program.
    [0, '!!\t  0% packet loss\n', { kind: 'unasked', reason: 'arping ended with 0: !!\t  0% packet loss' }],
    [null, '', { kind: 'unasked', reason: 'arping ended with null: ' }],
  ] as const;
  for (const [status, output, answer] of cases) {
    test(`mean ${answer.kind}`, () => assert.deepEqual(readArping(status, output), answer));
  }
});

suite('the other dbproxy', () => {
  const told = (peer: PeerSight | null): string[] =>
    hostFindings({ version: '1.2.3', peer, arbiters: new Map(), pair: null }).map(
      ({ severity, id, words }) => `${severity} ${id}: ${words}`,
    );
  const well = {
    kind: 'answers',
    address: '10.0.0.2:6032',
    version: '1.2.3',
    differing: [],
    clockAheadMs: 20,
  } as const;

  test('that is well, or is none, has no findings', () => {
    assert.deepEqual([told(well), told(null), told({ ...well, clockAheadMs: null })], [[], [], []]);
  });

  test('that is not reached, with the reason', () => {
    const [found] = told({ kind: 'silent', address: '10.0.0.2:6032', reason: 'Access denied for pair' });
    assert.match(found!, /^error peer: .*10\.0\.0\.2:6032.*Access denied for pair/);
  });

  test('that is not what this one is', () => {
    assert.deepEqual(told({ ...well, differing: ['clusters', 'vip'] }), [
      'error peer_config: proxy.conf is another one there: clusters, vip',
    ]);
    assert.match(told({ ...well, version: '1.2.2' })[0]!, /^warning peer_version: .*1\.2\.2.*1\.2\.3/);
    assert.match(told({ ...well, clockAheadMs: 900 })[0]!, /^warning peer_clock: .* 900 ms ahead/);
    assert.match(told({ ...well, clockAheadMs: -900 })[0]!, /^warning peer_clock: .* 900 ms behind/);
  });
});
