/**
 * Two dbproxies on one host that want the same address: the kernel would let them share it. One has it, and the other
 * one says who, and takes it when that one has gone, however it went.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ConfigSections, ProxyProcess } from '../lab/proxy.ts';

suite('a second dbproxy', () => {
  let lab: Lab;
  let first: ProxyProcess;
  before(async () => {
    lab = await startPair();
    first = await lab.startProxy();
  });
  after(() => lab?.stop());

  /** The endpoints of the first one, as the second one is to have them. */
  const endpoints = (...names: ('write' | 'read' | 'split')[]): ConfigSections =>
    Object.fromEntries(
      names.map((name) => [`listener ${name}`, { address: `127.0.0.1:${first.ports[name]}` }]),
    );

  test('whose listener is taken says by whom, serves the others, and takes it when the first one is killed', async () => {
    const second = await lab.startProxy({ config: endpoints('write'), readyWhen: 'alive' });
    const ready = await second.waitForEvent('dbproxy.ready');
    assert.deepEqual(ready['notListening'], [`write 127.0.0.1:${first.ports.write}`]);
    const { reason, detail } = await second.waitForEvent('listener.not_bound');
    assert.ok(
      String(reason ?? detail).includes(
        `cannot listen on 127.0.0.1:${first.ports.write}: EADDRINUSE, another dbproxy (process ${first.pid}, state_dir ${first.stateDirectory}) has it`,
      ),
      JSON.stringify({ reason, detail }),
    );
    // Each of several would land on either, were the address shared.
    const connections = await Promise.all(Array.from({ length: 8 }, () => first.connect('write')));
    assert.equal((await first.admin("SHOW SESSIONS WHERE listener = 'write'")).length, 8);
    for (const connection of connections) connection.destroy();

    first.signal('SIGKILL');
    await first.ended();
    await second.waitForEvent('listener.bound', ({ subject }) => /^write /.test(String(subject)));
    await second.stop();
    await first.start();
    const connection = await first.connect('write');
    await connection.query('select 1');
    connection.destroy();
  });

  test('whose listeners are all taken ends with that', async () => {
    await assert.rejects(
      lab.startProxy({ config: endpoints('write', 'read', 'split'), readyWhen: 'alive' }),
      /ended with 75[^]*no listener could be opened: .*EADDRINUSE, another dbproxy \(process \d+,/,
    );
  });
});
