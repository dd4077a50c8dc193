/**
 * That set-ups neither run beside one another nor beside a promotion, and end when dbproxy does. The server here
 * accepts and says nothing: what looks at it waits.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { systemClock } from '../../../src/base/clock.ts';
import { refusal } from '../../../src/base/errors.ts';
import { openLog } from '../../../src/base/log.ts';
import { Monitor } from '../../../src/monitor/monitor.ts';
import { Setup } from '../../../src/setup/setup.ts';
import { EMPTY_STATE } from '../../../src/topology/state-file.ts';
import { TopologyStore } from '../../../src/topology/store.ts';
import { backendConfig, clusterConfig } from '../../support/configs.ts';

const silent = createServer();
const sockets = new Set<Socket>();
let promotion: string | null = null;

before(async () => {
  silent.on('connection', (socket) => sockets.add(socket.on('error', () => undefined)));
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
});

after(() => {
  for (const socket of sockets) socket.destroy();
  silent.close();
});

function setupOf(requireCharge: (cluster: string) => void = () => undefined): Setup {
  const { port } = silent.address() as AddressInfo;
  const address = { kind: 'tcp', host: '127.0.0.1', port } as const;
  const config = { clusters: [clusterConfig()], backends: [backendConfig('db1', { address })] };
  const log = openLog({ level: 'error', format: 'json' });
  const clock = systemClock;
  return new Setup({
    config,
    clock,
    log,
    store: new TopologyStore(config, { load: () => EMPTY_STATE, save: () => Promise.resolve() }),
    monitor: new Monitor({ config, clock, log, primaryOf: () => null, onHealth: () => undefined }),
    promotionUnderWay: () => promotion,
    overtakeChores: () => Promise.resolve(),
    requireCharge,
    onEvent: () => undefined,
  });
}

const refused = (why: RegExp): object => ({ code: 'DBPROXY_SETUP_REFUSED', message: why });

suite('a set-up', () => {
  test('is refused beside another one, and is what nothing else may run beside', async () => {
    const setup = setupOf();
    const accepted = once(silent, 'connection');
    const first = setup.bootstrap('main', null, true);
    await assert.rejects(
      setup.cloneBackend('db1', null, false),
      refused(/BOOTSTRAP CLUSTER main is under way/),
    );
    assert.deepEqual(
      [setup.underWay(), setup.underWay('main'), setup.underWay('other')],
      ['BOOTSTRAP CLUSTER main', 'BOOTSTRAP CLUSTER main', null],
    );
    const stopped = setup.stop();
    await assert.rejects(setup.bootstrap('main', null, true), refused(/dbproxy is stopping/));
    assert.notEqual(setup.underWay(), null, 'what runs is waited for');
    const [socket] = (await accepted) as [Socket];
    socket.destroy();
    await assert.rejects(first, refused(/db1/));
    await stopped;
    assert.equal(setup.underWay(), null);
  });

  test('is refused beside a promotion', async () => {
    promotion = 'the promotion of db2';
    await assert.rejects(
      setupOf().bootstrap('main', null, true),
      refused(/the promotion of db2 is under way/),
    );
    promotion = null;
  });

  test('is refused to who does not act here, once it is known what it is about', async () => {
    const setup = setupOf((cluster) => {
      throw refusal('DBPROXY_NOT_IN_CHARGE', `another dbproxy acts on ${cluster}`);
    });
    const notHere = { code: 'DBPROXY_NOT_IN_CHARGE', message: /another dbproxy acts on main$/ };
    await assert.rejects(setup.bootstrap('main', null, false), notHere);
    await assert.rejects(setup.cloneBackend('db1', null, false), notHere);
    const unknown = { code: 'DBPROXY_ADMIN_UNKNOWN_OBJECT' };
    await assert.rejects(setup.bootstrap('other', null, false), unknown);
    await assert.rejects(setup.cloneBackend('db9', null, false), unknown);
  });
});
