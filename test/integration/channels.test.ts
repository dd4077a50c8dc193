/**
 * TLS and compression on both sides at once: what is agreed, what is shown, what is refused, and a
 * certificate renewed while sessions go on.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type tls from 'node:tls';
import { after, before, describe, it } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { makeCertificate, type CertificateWithKey } from '../../src/setup/certificate.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

const DAY_MS = 86_400_000;
const BIG = 'x0'.repeat(20_000_000);

function certificate(commonName: string, issuer?: CertificateWithKey): CertificateWithKey {
  const nowMs = Date.now();
  return makeCertificate({
    commonName,
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    notBefore: new Date(nowMs - DAY_MS),
    notAfter: new Date(nowMs + DAY_MS),
    ...(issuer !== undefined && { issuer }),
  });
}

// MySQL 5.6 as tried here knows no TLS that is still spoken.
forEachFlavour(
  (flavour) => {
    describe(`encrypted and compressed channels on ${flavour}`, () => {
      const folder = mkdtempSync(join(tmpdir(), 'dbproxy-channels-'));
      const file = (name: string): string => join(folder, name);
      const write = (name: string, { cert, key }: CertificateWithKey): void => {
        writeFileSync(file(`${name}.pem`), cert);
        writeFileSync(file(`${name}.key`), key, { mode: 0o600 });
      };
      const authority = certificate('the authority');
      let lab: Lab;
      let proxy: ProxyProcess;

      before(async () => {
        write('authority', authority);
        write('stranger', certificate('another authority'));
        write('server', certificate('the server', authority));
        write('listener', certificate('first', authority));
        lab = await startPair({
          flavour,
          serverOptions: [
            '--max-allowed-packet=128M',
            `--ssl-ca=${file('authority.pem')}`,
            `--ssl-cert=${file('server.pem')}`,
            `--ssl-key=${file('server.key')}`,
          ],
        });
        const channel = {
          tls: 'verify',
          tls_ca: file('authority.pem'),
          compression: flavour === 'mysql97' ? 'zstd' : 'zlib',
        };
        const listener = {
          tls: 'required',
          tls_cert: file('listener.pem'),
          tls_key: file('listener.key'),
          tls_ca: file('authority.pem'),
        };
        proxy = await lab.startProxy({
          workers: 2,
          config: {
            'backend db1': channel,
            'backend db2': channel,
            'listener write': listener,
            'listener read': { ...listener, tls: 'preferred', compression: 'off' },
          },
        });
      });
      after(async () => {
        await lab?.stop();
        rmSync(folder, { recursive: true, force: true });
      });

      function connect(options: object = {}): Promise<Connection> {
        const secure = { ca: authority.cert, rejectUnauthorized: true, ...options };
        return proxy.connect('write', { ...ADMIN_ACCOUNT, ssl: secure, compress: true });
      }

      async function status(connection: Connection, name: string): Promise<string> {
        const [rows] = await connection.query<RowDataPacket[]>(`show session status like '${name}'`);
        return String(rows[0]?.Value);
      }

      /** Who the write endpoint says it is to a connection that begins now. */
      async function shownName(): Promise<string | undefined> {
        const connection = await connect();
        const { stream } = (connection as unknown as { connection: { stream: tls.TLSSocket } }).connection;
        const { CN: name } = stream.getPeerCertificate().subject as { CN?: string };
        await connection.end();
        return name;
      }

      it('are agreed upon on each side for itself', async () => {
        const connection = await connect();
        assert.match(await status(connection, 'Ssl_version'), /^TLSv1\.[23]$/);
        assert.equal(await status(connection, 'Compression'), 'ON');
        const plain = await proxy.connect('read', ADMIN_ACCOUNT);
        assert.match(await status(plain, 'Ssl_version'), /^TLSv1\.[23]$/);
        const [mine] = await proxy.admin(`SHOW SESSIONS WHERE listener = 'write'`);
        assert.match(String(mine!.tls), /^TLSv1\.3 TLS_/);
        const [other] = await proxy.admin(`SHOW SESSIONS WHERE listener = 'read'`);
        assert.equal(other!.tls, null);
      });

      it('carry big values both ways', async () => {
        const connection = await connect();
        await connection.query('create table if not exists big (v longtext)');
        await connection.query('insert into big values (?)', [BIG]);
        const [rows] = await connection.query<RowDataPacket[]>('select v from big');
        assert.equal(rows[0]!.v === BIG, true);
        await connection.query('drop table big');
      });

      it('show whose certificate a client has', async () => {
        const { cert, key } = certificate('somebody', authority);
        const connection = await connect({ cert, key });
        const sessions = await proxy.admin("SHOW SESSIONS WHERE listener = 'write'");
        assert.ok(sessions.some((session) => String(session.tls).endsWith('/CN=somebody')));
        await connection.end();
        const stranger = certificate('somebody', certificate('another authority'));
        await assert.rejects(connect({ cert: stranger.cert, key: stranger.key }));
      });

      it('are refused without TLS where it is required, before a password was said', async () => {
        await assert.rejects(proxy.connect('write', ADMIN_ACCOUNT), { errno: 3159 });
      });

      it('take a renewed certificate while sessions go on, and keep the old one while the new is no good', async () => {
        const old = await connect();
        assert.equal(await shownName(), 'first');
        writeFileSync(file('listener.pem'), certificate('half a pair', authority).cert);
        const [failed] = await proxy.admin('RELOAD TLS');
        assert.match(JSON.stringify(failed), /do not belong together/);
        assert.equal(await shownName(), 'first');
        write('listener', certificate('second', authority));
        await proxy.admin('RELOAD TLS');
        assert.equal(await shownName(), 'second');
        await old.query('select 1');
        write('listener', certificate('third', authority));
        await eventually(async () => assert.equal(await shownName(), 'third'), 10_000);
      });

      it('to a server whose certificate nobody knows are refused in words', async () => {
        const cautious = await lab.startProxy({
          workers: 1,
          readyWhen: 'alive',
          config: {
            'backend db1': { tls: 'verify', tls_ca: file('stranger.pem') },
            'backend db2': { tls: 'off' },
          },
        });
        const [db1] = await cautious.admin("SHOW BACKENDS WHERE name = 'db1'");
        assert.match(String(db1!.reason), /certificate/);
        await cautious.stop();
      });
    });
  },
  ['mariadb', 'mysql97'],
);
