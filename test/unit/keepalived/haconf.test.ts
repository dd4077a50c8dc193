/**
 * haconf: what its line says, and which column is wrong.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { BackendConfig } from '../../../src/config/config.ts';
import { parseHaconf, type Haconf } from '../../../src/keepalived/haconf.ts';
import { HaconfWatch } from '../../../src/keepalived/haconf-watch.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const EXAMPLE = 'N dbproxy /usr 3001 null 192.168.1.1,192.168.1.2 N vi_dbproxy_73 null null';
const READ: Haconf = {
  maintenance: false,
  master: null,
  slaves: ['192.168.1.1', '192.168.1.2'],
  errorMode: false,
  instance: 'vi_dbproxy_73',
};

const good: [text: string, haconf: Haconf][] = [
  [EXAMPLE, READ],
  [`# who\n\n  ${EXAMPLE.replaceAll(' ', '\t ')}\n`, READ],
  [EXAMPLE.replace('192.168.1.1,192.168.1.2', 'null'), { ...READ, slaves: [] }],
  [EXAMPLE.replace('192.168.1.1,192.168.1.2', '192.168.1.2'), { ...READ, slaves: ['192.168.1.2'] }],
  [EXAMPLE.replace('N dbproxy', 'Y dbproxy'), { ...READ, maintenance: true }],
  [EXAMPLE.replace('N vi', 'y vi'), { ...READ, errorMode: true }],
  [EXAMPLE.replace('3001 null', '3001 10.0.0.2'), { ...READ, master: { host: '10.0.0.2', port: null } }],
  [EXAMPLE.replace('3001 null', '3001 10.0.0.2:3307'), { ...READ, master: { host: '10.0.0.2', port: 3307 } }],
  [EXAMPLE.replace('3001 null', 'null FD00:0::2'), { ...READ, master: { host: 'fd00::2', port: null } }],
  [EXAMPLE.replace('vi_dbproxy_73', 'null'), { ...READ, instance: null }],
];
for (const [text, haconf] of good) {
  test(`'${text.trim()}' is read`, () => assert.deepEqual(parseHaconf(text, null), { haconf }));
}

const bad: [text: string, problem: RegExp][] = [
  ['', /^has no line$/],
  [`# \n${EXAMPLE}\n${EXAMPLE}`, /^line 3: is a second one beside line 2$/],
  [
    EXAMPLE.replace('N dbproxy', 'maybe dbproxy'),
    /^line 1: column 1 \(maintenance\): 'maybe' is not Y or N$/,
  ],
  [EXAMPLE.replace('dbproxy', 'mysql'), /column 2 \(service\): 'mysql' is not dbproxy/],
  [EXAMPLE.replace('/usr', 'usr'), /column 3 \(mysql directory\): 'usr' is not an absolute path/],
  [EXAMPLE.replace('3001 null', '3001 db2'), /column 5 \(master IP\): 'db2' is not an IP address/],
  [EXAMPLE.replace(',', ',,'), /column 6 \(slave IP\): '192\.168\.1\.1,,192\.168\.1\.2' is not a list/],
  [EXAMPLE.replace('N vi', '1 vi'), /column 7 \(error mode\): '1' is not Y or N/],
  [EXAMPLE.replace('vi_dbproxy_73', 'vi/73'), /column 8 \(VRRP instance\): 'vi\/73' is not a name/],
  [`\n${EXAMPLE.replace(/ null$/, '')}`, /^line 2: column 10 \(reserved\) is missing$/],
  [`${EXAMPLE} null`, /^line 1: column 11: 'null' is one too many$/],
  ['X dbproxy', /column 1 .*; column 3 \(mysql directory\) is missing; .*column 10/],
];
for (const [text, problem] of bad) {
  test(`'${text.trim()}' is not read`, () => {
    const reading = parseHaconf(text, null);
    assert.match('problem' in reading ? reading.problem : 'no problem', problem);
  });
}

test('column 8 names the VRRP instance of the configuration, where that has one', () => {
  const own = parseHaconf(EXAMPLE, 'vi_dbproxy_73');
  assert.deepEqual(own, { haconf: READ });
  const none = parseHaconf(EXAMPLE.replace('vi_dbproxy_73', 'null'), 'vi_shop');
  assert.deepEqual(none, { haconf: { ...READ, instance: null } });
  assert.deepEqual(parseHaconf(EXAMPLE, 'vi_shop'), {
    problem:
      "line 1: column 8 (VRRP instance): 'vi_dbproxy_73' is not vi_shop, which is [keepalived] instance, or null",
  });
});

describe('haconf watched', () => {
  function world(refuses?: string): {
    watch: HaconfWatch;
    write: (text: string | null) => Promise<void>;
    told: string[];
  } {
    let text: string | null = null;
    const told: string[] = [];
    const at = (name: string, cluster: string, host: string, port: number): BackendConfig =>
      ({ name, cluster, address: { kind: 'tcp', host, port } }) as BackendConfig;
    const watch = new HaconfWatch({
      clock: new FakeClock(),
      read: () => (text === null ? Promise.reject(new Error('ENOENT')) : Promise.resolve(text)),
      instance: 'vi_dbproxy_73',
      rest: (on) => told.push(on ? 'rest' : 'go on'),
      backends: () => [
        at('db1', 'main', '10.0.0.1', 3306),
        at('db2', 'main', '10.0.0.2', 3306),
        at('b2', 'other', '10.0.0.2', 3307),
        at('c1', 'twins', '10.0.0.3', 1),
        at('c2', 'twins', '10.0.0.3', 2),
      ],
      primaryOf: (cluster) => ({ main: 'db1', other: 'b2', twins: 'c1' })[cluster] ?? null,
      switchover: (cluster, to) => {
        told.push(`SWITCHOVER CLUSTER ${cluster} TO ${to}`);
        return refuses === undefined ? Promise.resolve() : Promise.reject(new Error(refuses));
      },
      tell: (_level, event, subject, detail) => told.push(`${event} ${subject}: ${detail}`),
    });
    const write = async (next: string | null): Promise<void> => {
      text = next;
      told.length = 0;
      await watch.look();
      await Promise.resolve();
    };
    return { watch, write, told };
  }
  const named = (master: string): string => EXAMPLE.replace('3001 null', `3001 ${master}`);

  test('rests while column 1 is Y, from the first look on', async () => {
    const { write, told } = world();
    await write(EXAMPLE.replace('N', 'Y'));
    assert.deepEqual(told, [
      'rest',
      'haconf.maintenance haconf: column 1 is Y: no automatic failover by this dbproxy',
    ]);
    await write(EXAMPLE.replace('N', 'Y'));
    assert.deepEqual(told, []);
    await write(EXAMPLE);
    assert.equal(told[0], 'go on');
  });

  test('a file that is missing or wrong is told once, and changes nothing', async () => {
    const { write, told } = world();
    await write(EXAMPLE.replace('N', 'Y'));
    await write('Y');
    assert.match(told.join(), /^haconf\.bad haconf: line 1: column 2 \(service\) is missing/);
    await write('Y');
    assert.deepEqual(told, []);
    await write(EXAMPLE.replace('vi_dbproxy_73', 'vi_shop'));
    assert.match(told.join(), /^haconf\.bad haconf: line 1: column 8 \(VRRP instance\): 'vi_shop' is not/);
    await write(null);
    assert.deepEqual(told, ['haconf.bad haconf: cannot be read: ENOENT; what it said before goes on']);
    await write(EXAMPLE.replace('N', 'Y'));
    assert.deepEqual(told, []);
  });

  test('column 5 that comes to name another server is a switchover, in each cluster that is there', async () => {
    const { write, told } = world();
    await write(named('10.0.0.1'));
    await write(named('10.0.0.2'));
    assert.deepEqual(told, [
      'haconf.switchover main: column 5 is 10.0.0.2: SWITCHOVER TO db2',
      'SWITCHOVER CLUSTER main TO db2',
      'haconf.switchover other: column 5 is 10.0.0.2: b2 is the primary already',
      'haconf.switched main: column 5 is 10.0.0.2: db2 is the primary',
    ]);
    await write(named('10.0.0.2'));
    assert.deepEqual(told, []);
  });

  test('column 5 is no order at the first look', async () => {
    const { write, told } = world();
    await write(named('10.0.0.2'));
    assert.deepEqual(told, []);
  });

  test('refusals are told in words', async () => {
    const { write, told } = world('not now');
    await write(EXAMPLE);
    await write(named('10.0.0.9'));
    assert.match(
      told.join(),
      /^haconf\.refused haconf: column 5 is 10\.0\.0\.9: no backend is there; there are db1 10\.0\.0\.1:3306,/,
    );
    await write(named('10.0.0.3'));
    assert.match(
      told.join(),
      /haconf\.refused twins: column 5 is 10\.0\.0\.3: c1 and c2 are there; write IP:PORT/,
    );
    await write(named('10.0.0.3:2'));
    assert.equal(told.at(-1), 'haconf.refused twins: column 5 is 10.0.0.3:2: not now');
  });
});
