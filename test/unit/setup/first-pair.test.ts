import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ProxyConfig } from '../../../src/config/config.ts';
import { configNotes, parseConfig } from '../../../src/config/load.ts';
import { defaultGateway, firstFiles, type PairRequest } from '../../../src/setup/first-pair.ts';

const REQUEST: PairRequest = {
  hosts: ['10.0.0.1', '10.0.0.2'],
  vips: ['10.0.0.100/24'],
  interfaceName: 'eth0',
  gateway: '10.0.0.254',
  makePassword: () => 'secret',
  certificate: { cert: '', key: '' },
};

function fileOf(name: string, changes: Partial<PairRequest> = {}): string {
  return firstFiles({ ...REQUEST, ...changes }).find((file) => file.name === name)!.text;
}

function configOf(changes: Partial<PairRequest> = {}): ProxyConfig {
  const context = { file: 'proxy.conf', env: {}, readFile: () => '', cores: 1, ignoresCertificates: true };
  const text = fileOf('proxy.conf', changes);
  // The dashboard is a thing to come, whatever a file says.
  const notes = configNotes(text, context).filter((note) => !note.includes('dashboard'));
  assert.deepEqual(notes, []);
  return parseConfig(text, context);
}

suite('the first configuration of a pair', () => {
  test('is one for both hosts, with failover by itself', () => {
    const { admin, peer, keepalived, clusters, backends } = configOf();
    assert.deepEqual(admin.address, { kind: 'tcp', host: '0.0.0.0', port: 6032 });
    assert.deepEqual(peer?.address, ['10.0.0.1:6032', '10.0.0.2:6032']);
    assert.deepEqual(keepalived.hosts, ['10.0.0.1', '10.0.0.2']);
    assert.deepEqual([clusters[0]!.failover, clusters[0]!.arbiter], ['auto', ['ping:10.0.0.254']]);
    assert.ok(backends.every(({ rwWeight }) => rwWeight === 1));
  });

  test('leaves failover to people where nobody outside can be asked', () => {
    const { keepalived, clusters } = configOf({ gateway: null });
    assert.equal(keepalived.gateway, undefined);
    assert.deepEqual([clusters[0]!.failover, clusters[0]!.arbiter], ['manual', []]);
  });

  test('puts reads on an address of their own where there is one', () => {
    const { listeners } = configOf({ vips: ['10.0.0.100/24', '10.0.0.101/24'] });
    const hosts = listeners.map(({ mode, address }) => [mode, address.kind === 'tcp' && address.host]);
    assert.deepEqual(hosts, [
      ['write', '10.0.0.100'],
      ['read', '10.0.0.101'],
      ['split', '10.0.0.100'],
    ]);
  });

  test('is possible with IPv6', () => {
    const { backends, listeners } = configOf({
      hosts: ['fd00::1', 'fd00::2'],
      vips: ['fd00::100/64'],
      gateway: null,
    });
    assert.deepEqual(backends[1]!.address, { kind: 'tcp', host: 'fd00::2', port: 3306 });
    assert.deepEqual(listeners[0]!.address, { kind: 'tcp', host: 'fd00::100', port: 6446 });
  });

  test('has the same password of the monitor account as the SQL, and no other one twice', () => {
    let made = 0;
    const files = firstFiles({ ...REQUEST, makePassword: () => `secret${++made}` });
    const textOf = (name: string): string => files.find((file) => file.name === name)!.text;
    const passwords = [...textOf('proxy.conf').matchAll(/password = (\S+)/g)].map(([, password]) => password);
    assert.equal(new Set(passwords).size, 4);
    const [, monitor] = /monitor_password = (\S+)/.exec(textOf('proxy.conf'))!;
    assert.ok(textOf('accounts.sql').includes(`IDENTIFIED BY '${monitor}'`));
  });
});

suite('the gateway', () => {
  const HEAD = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n';
  const route = (...words: string[]): string => `${words.join('\t')}\t0\t0\t0\t00000000\t0\t0\t0\n`;

  test('is that of the default route of the interface', () => {
    const routes = `${HEAD}${route('eth1', '00000000', '0101A8C0', '0003')}${route('eth0', '0000000A', '00000000', '0001')}${route('eth0', '00000000', 'FE00000A', '0003')}`;
    assert.equal(defaultGateway(routes, 'eth0'), '10.0.0.254');
    assert.equal(defaultGateway(routes, 'eth1'), '192.168.1.1');
  });

  test('is none where the default route leads to the interface itself, or there is no such route', () => {
    assert.equal(defaultGateway(`${HEAD}${route('eth0', '00000000', '00000000', '0001')}`, 'eth0'), null);
    assert.equal(defaultGateway(HEAD, 'eth0'), null);
    assert.equal(defaultGateway('', 'eth0'), null);
  });
});
