/**
 * A virtual IP comes to this host and leaves it while dbproxy runs: its listeners follow it, and its sessions are kept for
 * a while. As root, in a network of its own; elsewhere it cannot be tried.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { after, afterEach, before, suite, test } from 'node:test';
import type { Connection } from 'mysql2/promise';
import { insideOwnNetwork } from '../lab/hosts.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import type { LogEvent, ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

const VIP = '10.255.7.9';
const VIP6 = 'fd99::7:9';
const PORT = 3306;
const WORKERS = [0, 1];

function run(...command: string[]): void {
  execFileSync(command[0]!, command.slice(1), { stdio: 'pipe' });
}

function ip(command: 'add' | 'del', address: string, device: string): void {
  const isV6 = address.includes(':');
  const options = isV6 && command === 'add' ? ['nodad'] : [];
  run('ip', 'addr', command, `${address}/${isV6 ? 128 : 32}`, 'dev', device, ...options);
}

/** Ends a connection for its client, who need not reach anybody for that. */
function cut(client: Connection): void {
  (client as unknown as { connection: { stream: Socket } }).connection.stream.resetAndDestroy();
}

if (process.getuid!() !== 0) {
  test(
    'an address that moves between hosts',
    { skip: 'only root may give a network an address' },
    () => undefined,
  );
} else if (await insideOwnNetwork()) {
  suite('an address that moves between hosts', () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    /** The addresses that are here: of which listener, at which interface. */
    const here = new Map<string, [string, string]>();
    before(async () => {
      lab = await startPair();
      proxy = await lab.startProxy({
        workers: WORKERS.length,
        config: {
          'listener write': { address: `${VIP}:${PORT}` },
          'listener read': { address: `[fd99:0::7:9]:${PORT}`, drain_timeout: '1ms' },
          'listener split': { drain_timeout: '1ms' },
        },
      });
    });
    afterEach(async () => {
      for (const [address, [listener, device]] of here) await moved('del', address, listener, device);
    });
    after(() => lab?.stop());

    /** Moves an address, and waits until every worker has said so. */
    async function moved(
      command: 'add' | 'del',
      address: string,
      listener: string,
      device = 'lo',
    ): Promise<LogEvent[]> {
      const from = proxy.log.length;
      ip(command, address, device);
      if (command === 'add') here.set(address, [listener, device]);
      else here.delete(address);
      return told(command === 'add' ? 'listener.bound' : 'listener.released', listener, from);
    }

    const told = (event: string, listener: string, from: number): Promise<LogEvent[]> =>
      Promise.all(
        WORKERS.map((worker) =>
          proxy.waitForEvent(
            event,
            (one) => one['subject'] === `${listener} (worker ${worker})` && proxy.log.indexOf(one) >= from,
          ),
        ),
      );

    const connect = (): Promise<Connection> => proxy.connect('write', { host: VIP, port: PORT });

    const sockets = (question: string[]): string =>
      execFileSync('ss', ['-H', ...question], { encoding: 'utf8' });

    /** How many listen on the address, as the kernel has it. */
    const listening = (address: string): number =>
      sockets(['-ltn', 'src', address]).split('\n').filter(Boolean).length;

    test('is waited for: dbproxy is ready without it', () => {
      const ready = proxy.log.find(({ event }) => event === 'dbproxy.ready')!;
      assert.deepEqual(ready['notListening'], [`write ${VIP}:${PORT}`, `read [fd99:0::7:9]:${PORT}`]);
    });

    test('is listened on when it comes, by every worker, and no longer when it leaves', async () => {
      await moved('add', VIP, 'write');
      assert.equal(listening(VIP), WORKERS.length);
      const [one, two] = [await connect(), await connect()];
      await Promise.all([one.query('select 1'), two.query('select 1')]);
      cut(one);
      cut(two);
      const events = await moved('del', VIP, 'write');
      assert.match(
        String(events[0]!['detail']),
        /^10\.255\.7\.9:3306 has left this host; \d sessions are kept for drain_timeout \(30000 ms\)$/,
      );
      assert.equal(listening(VIP), 0);
    });

    test('that is back in time finds its sessions as they were, open transactions too', async () => {
      await moved('add', VIP, 'write');
      const client = await connect();
      await client.query('create table if not exists moving (id int primary key)');
      await client.query('begin');
      await client.query('insert into moving values (1)');
      await moved('del', VIP, 'write');
      await moved('add', VIP, 'write');
      await client.query('commit');
      const [rows] = await client.query('select id from moving');
      assert.deepEqual(rows, [{ id: 1 }]);
      cut(client);
    });

    test('that is back finds out which clients have been told elsewhere that they have no connection', async () => {
      await moved('add', VIP, 'write');
      const client = await connect();
      await client.query('begin');
      await client.query("select get_lock('moving', 0)");
      // What nobody has acknowledged would be sent again, and find out by itself.
      await eventually(() => assert.match(sockets(['-tn', 'src', `${VIP}:${PORT}`]), /^ESTAB +0 +0 /));
      await moved('del', VIP, 'write');
      // Nothing of this can reach dbproxy, as little as what another host answers the client.
      cut(client);
      await moved('add', VIP, 'write');
      const next = await connect();
      const [rows] = await next.query("select get_lock('moving', 10) as got");
      assert.deepEqual(rows, [{ got: 1 }]);
      cut(next);
    });

    test('is an IPv6 one as well; what it leaves behind is ended when drain_timeout is over', async () => {
      await moved('add', VIP6, 'read');
      const client = await proxy.connect('read', { host: VIP6, port: PORT });
      await client.query("select get_lock('left behind', 0)");
      const from = proxy.log.length;
      await moved('del', VIP6, 'read');
      const events = await told('listener.drained', 'read', from);
      const ended = events.map(({ detail }) =>
        Number(/; (\d+) sessions were ended$/.exec(String(detail))![1]),
      );
      assert.equal(ended[0]! + ended[1]!, 1);
      assert.equal(listening(`[${VIP6}]`), 0);
      assert.deepEqual(await proxy.admin("SHOW SESSIONS WHERE listener = 'read'"), []);
      // The server has rolled back what was open, and has let go.
      await eventually(async () => {
        const rows = await proxy.admin("SHOW POOLS WHERE backend = 'db2'");
        assert.ok(rows.every((row) => row['used'] === 0));
      });
      cut(client);
    });

    test('stays while its cable is pulled: programs on this host go on; and leaves all the same', async () => {
      run('ip', 'link', 'add', 'card', 'type', 'veth', 'peer', 'name', 'far');
      for (const end of ['card', 'far']) run('ip', 'link', 'set', end, 'up');
      await moved('add', VIP, 'write', 'card');
      const from = proxy.log.length;
      run('ip', 'link', 'set', 'far', 'down');
      await eventually(() => assert.ok(!('card' in networkInterfaces()), 'the list of interfaces lacks it'));
      const client = await connect();
      await client.query('select 1');
      cut(client);
      assert.deepEqual(
        proxy.log.slice(from).filter(({ event }) => event.startsWith('listener.')),
        [],
      );
      await moved('del', VIP, 'write', 'card');
      run('ip', 'link', 'del', 'card');
    });

    test('is followed as well where the kernel lets everything be bound', async () => {
      const knob = '/proc/sys/net/ipv4/ip_nonlocal_bind';
      writeFileSync(knob, '1');
      try {
        await moved('add', VIP, 'write');
        await moved('del', VIP, 'write');
        assert.equal(listening(VIP), 0);
      } finally {
        writeFileSync(knob, '0');
      }
    });

    test('is none of 127.0.0.1, whose listeners stay', () => {
      assert.deepEqual(
        proxy.log.filter(({ subject }) => /^split/.test(String(subject))).map(({ event }) => event),
        ['listener.bound', 'listener.bound'],
      );
    });
  });
}
