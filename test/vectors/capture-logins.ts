/**
 * Records logins by every plugin from real servers into plugin-logins.json, packet by packet. It has no part
 * in the tests; run it by hand when a plugin is added:
 *
 *   node test/vectors/capture-logins.ts MARIADB_PORT MYSQL_PORT
 *
 * Both on 127.0.0.1, with the accounts of `SETUP`; MySQL 9 freshly started, so that it has seen no login.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { Capability } from '../../src/protocol/constants.ts';
import { PacketFramer } from '../../src/protocol/framer.ts';
import { ClientLogin } from '../../src/protocol/login-client.ts';

const SETUP = `
MariaDB: install soname 'auth_ed25519';
  create user nat@'127.0.0.1' identified via mysql_native_password using password('app');
  create user ed@'127.0.0.1' identified via ed25519 using password('app');
MySQL:   create user sha@'127.0.0.1' identified with caching_sha2_password by 'app';
  create user nopw@'127.0.0.1' identified with caching_sha2_password by '';
  create user old256@'127.0.0.1' identified with sha256_password by 'app';
`;

const [mariadbPort, mysqlPort] = process.argv.slice(2).map(Number);
if (mariadbPort === undefined || mysqlPort === undefined) throw new Error(`two ports of servers with:${SETUP}`);

interface Recorded {
  name: string;
  user: string;
  password: string;
  /** Whole packets in their order, `<` from the server and `>` from the client. */
  packets: string[];
}

async function record(name: string, port: number, user: string, password: string): Promise<Recorded> {
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true });
  const login = new ClientLogin({
    user,
    secret: { password },
    database: '',
    collation: 45,
    capabilities: Capability.DEPRECATE_EOF,
  });
  const framer = new PacketFramer(64 * 1024);
  const packets: string[] = [];
  for (;;) {
    let packet = framer.next();
    while (packet === undefined) packet = framer.next(((await once(socket, 'data')) as [Buffer])[0]);
    const header = Buffer.from([packet.payload.length & 0xff, packet.payload.length >> 8, 0, packet.sequence]);
    packets.push(`<${Buffer.concat([header, packet.payload]).toString('hex')}`);
    const step = login.receive(packet.payload, packet.sequence);
    if (step.kind === 'send') {
      packets.push(`>${step.bytes.toString('hex')}`);
      socket.write(step.bytes);
    } else if (step.kind !== 'wait') {
      socket.destroy();
      if (step.kind !== 'ok' && password !== 'wrong') throw new Error(`${name}: ${JSON.stringify(step)}`);
      return { name, user, password, packets };
    }
  }
}

const recorded = [
  await record('mysql_native_password', mariadbPort, 'nat', 'app'),
  await record('client_ed25519', mariadbPort, 'ed', 'app'),
  await record('caching_sha2_password, full path by RSA', mysqlPort, 'sha', 'app'),
  await record('caching_sha2_password, fast path', mysqlPort, 'sha', 'app'),
  await record('caching_sha2_password, wrong password', mysqlPort, 'sha', 'wrong'),
  await record('caching_sha2_password, no password', mysqlPort, 'nopw', ''),
  await record('sha256_password by RSA', mysqlPort, 'old256', 'app'),
];
const file = new URL('plugin-logins.json', import.meta.url);
writeFileSync(file, `${JSON.stringify(recorded, null, 1)}\n`);
