import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { after, describe, test } from 'node:test';
import tls from 'node:tls';
import { ByteSocket, type SocketHandler } from '../../../src/base/socket.ts';
import {
  tlsClient,
  tlsServer,
  TlsStream,
  type TlsClientOptions,
  type TlsServerOptions,
} from '../../../src/transport/tls-stream.ts';
import { authority, certificate, expiredCertificate } from '../../support/certificates.ts';
import { Inbox } from '../../support/inbox.ts';

const INPUT_BYTES = 16 * 1024;
/** More than the kernel keeps for a peer that does not read. */
const LARGE = 32 * 1024 * 1024;
/** What a client sends in clear text before TLS; the server of these tests drops it. */
const SSL_REQUEST = Buffer.from('ssl request');

const ca = authority();
const own = certificate({ issuer: ca });
const serverOptions: TlsServerOptions = { ...own, ca: null, ticketKeys: randomBytes(48) };

const quiet: SocketHandler = { onData: () => undefined, onDrain: () => undefined, onClose: () => undefined };
const cleanUps: (() => void)[] = [];
after(() => {
  for (const cleanUp of cleanUps) cleanUp();
});

/** A server whose connections begin TLS at the SSL request, and what happens on the first of them. */
async function tlsEndpoint(over: Partial<TlsServerOptions> = {}, handler: Partial<SocketHandler> = {}) {
  const server = tlsServer({ ...serverOptions, ...over });
  const secured = new Inbox<TlsStream>();
  const received = new Inbox<Buffer>();
  const closed = new Inbox<Error | undefined>();
  const listener = net.createServer({ pauseOnConnect: true, noDelay: true });
  listener.on('connection', (accepted) => {
    const under = ByteSocket.accept(accepted, INPUT_BYTES, { ...quiet })!;
    const begin = (length: number): void => {
      const rest = under.input.subarray(SSL_REQUEST.length, length);
      const stream: TlsStream = TlsStream.accept(
        under,
        server,
        rest,
        {
          onData: (bytes) => received.put(Buffer.from(stream.input.subarray(0, bytes))),
          onDrain: () => undefined,
          onClose: (error) => closed.put(error),
          ...handler,
        },
        () => secured.put(stream),
      );
      cleanUps.push(() => stream.destroy());
    };
    under.handler = { ...quiet, onData: begin };
    under.resume();
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  cleanUps.push(() => listener.close());
  return { port: (listener.address() as AddressInfo).port, secured, received, closed };
}

/** A plain client that has sent the SSL request; node:tls does the rest. */
async function knock(port: number): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
  cleanUps.push(() => socket.destroy());
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(SSL_REQUEST);
  return socket;
}

function clientTls(socket: net.Socket, options: tls.ConnectionOptions = {}): tls.TLSSocket {
  const client = tls.connect({ socket, rejectUnauthorized: false, ...options });
  client.on('error', () => undefined);
  return client;
}

/** A TlsStream towards a server of node:tls with these options. */
async function connectTo(
  options: tls.TlsOptions,
  client: Partial<TlsClientOptions>,
  host = '127.0.0.1',
): Promise<{ secured: Inbox<TlsStream>; closed: Inbox<Error | undefined>; server: tls.Server }> {
  const server = tls.createServer(options, (socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  return { ...(await connectToServer(server, client, host)), server };
}

async function connectToServer(server: net.Server, client: Partial<TlsClientOptions>, host: string) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUps.push(() => server.close());
  const secured = new Inbox<TlsStream>();
  const closed = new Inbox<Error | undefined>();
  const { port } = server.address() as AddressInfo;
  const handler = { ...quiet, onClose: (error: Error | undefined) => closed.put(error) };
  const under = ByteSocket.connect({ kind: 'tcp', host: '127.0.0.1', port }, INPUT_BYTES, handler);
  const stream: TlsStream = TlsStream.connect(
    under,
    tlsClient({ verify: true, ca: ca.cert, own: null, ...client }),
    host,
    handler,
    () => secured.put(stream),
  );
  cleanUps.push(() => stream.destroy());
  return { secured, closed };
}

async function messageOfClose(closed: Inbox<Error | undefined>): Promise<string> {
  return (await closed.take())?.message ?? 'no error';
}

describe('accepting', () => {
  test('a handshake whose beginning came together with the SSL request succeeds', async () => {
    const endpoint = await tlsEndpoint();
    // The client hello is caught on its way and sent in one piece with the request.
    const relay = net.createServer((down) => {
      const up = net.connect(endpoint.port, '127.0.0.1');
      down.once('data', (hello: Buffer) => {
        up.write(Buffer.concat([SSL_REQUEST, hello]));
        down.pipe(up).pipe(down);
      });
      down.on('error', () => undefined);
    });
    relay.listen(0, '127.0.0.1');
    await once(relay, 'listening');
    cleanUps.push(() => relay.close());
    const client = clientTls(net.connect((relay.address() as AddressInfo).port, '127.0.0.1'));
    cleanUps.push(() => client.destroy());
    const stream = await endpoint.secured.take();
    client.write('hello');
    assert.equal((await endpoint.received.take()).toString(), 'hello');
    assert.equal(stream.write(Buffer.from('answer')), true);
    assert.equal(String((await once(client, 'data'))[0]), 'answer');
  });

  test('bytes flow both ways, whole and in order, and are encrypted', async () => {
    const endpoint = await tlsEndpoint();
    const socket = await knock(endpoint.port);
    const seen: Buffer[] = [];
    const client = clientTls(socket);
    const stream = await endpoint.secured.take();
    const sent = randomBytes(1_000_000);
    client.write(sent);
    let received = Buffer.alloc(0);
    while (received.length < sent.length)
      received = Buffer.concat([received, await endpoint.received.take()]);
    assert.ok(received.equals(sent));
    stream.write(Buffer.from('a'));
    stream.write(Buffer.from('b'));
    stream.write(Buffer.from('c'));
    stream.end(Buffer.from('d'));
    client.on('data', (chunk: Buffer) => seen.push(chunk));
    await once(client, 'close');
    assert.equal(Buffer.concat(seen).toString(), 'abcd');
    assert.equal(await endpoint.closed.take(), undefined);
    assert.equal(stream.remoteAddress, '127.0.0.1');
    assert.equal(stream.destroyed, true);
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`${version} is told with its cipher`, async () => {
      const endpoint = await tlsEndpoint();
      clientTls(await knock(endpoint.port), { minVersion: version, maxVersion: version });
      const info = (await endpoint.secured.take()).info();
      assert.equal(info.version, version);
      assert.match(info.cipher, /^TLS_/);
      assert.equal(info.peerSubject, null);
    });
  }

  test('versions before 1.2 are refused, and the reason says so', async () => {
    const endpoint = await tlsEndpoint();
    clientTls(await knock(endpoint.port), {
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    });
    assert.match(await messageOfClose(endpoint.closed), /client knows only versions of TLS before 1\.2/);
  });

  test('plain text in place of TLS is named', async () => {
    const endpoint = await tlsEndpoint();
    const socket = await knock(endpoint.port);
    socket.write(Buffer.from([0x23, 0, 0, 2, 0x85, 0xa6, 0xff, 0x01, 0, 0, 0, 1, 0x2d, 0, 0, 0]));
    assert.match(await messageOfClose(endpoint.closed), /the client sent plain text/);
  });

  test('a client that goes away in the middle is named', async () => {
    const endpoint = await tlsEndpoint();
    (await knock(endpoint.port)).end();
    assert.match(await messageOfClose(endpoint.closed), /client closed the connection in the middle/);
  });

  test('can be given up in the middle of the handshake', async () => {
    const closed = new Inbox<Error | undefined>();
    const listener = net.createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
    cleanUps.push(() => listener.close());
    await once(listener, 'listening');
    const arrival = once(listener, 'connection') as Promise<[net.Socket]>;
    const socket = net.connect((listener.address() as AddressInfo).port, '127.0.0.1');
    socket.on('error', () => undefined);
    const under = ByteSocket.accept((await arrival)[0], INPUT_BYTES, quiet)!;
    const handler = { ...quiet, onClose: (error: Error | undefined) => closed.put(error) };
    const stream = TlsStream.accept(under, tlsServer(serverOptions), Buffer.from([22, 3]), handler, () =>
      assert.fail('it was given up'),
    );
    stream.destroy();
    await closed.take();
    assert.equal(closed.length, 0);
    socket.destroy();
  });

  test('a session of one process is resumed in another that has the same ticket keys', async () => {
    const one = await tlsEndpoint();
    const other = await tlsEndpoint();
    const client = clientTls(await knock(one.port));
    const [session] = (await once(client, 'session')) as [Buffer];
    const again = clientTls(await knock(other.port), { session });
    await once(again, 'secureConnect');
    assert.equal(again.isSessionReused(), true);
    const stranger = await tlsEndpoint({ ticketKeys: randomBytes(48) });
    const unknown = clientTls(await knock(stranger.port), { session });
    await once(unknown, 'secureConnect');
    assert.equal(unknown.isSessionReused(), false);
  });
});

describe("clients' certificates", () => {
  test('the subject of a trusted one is the identity', async () => {
    const endpoint = await tlsEndpoint({ ca: ca.cert });
    clientTls(await knock(endpoint.port), certificate({ commonName: 'app', issuer: ca }));
    assert.equal((await endpoint.secured.take()).info().peerSubject, '/CN=app');
  });

  test('none is needed', async () => {
    const endpoint = await tlsEndpoint({ ca: ca.cert });
    clientTls(await knock(endpoint.port));
    assert.equal((await endpoint.secured.take()).info().peerSubject, null);
  });

  const refused: [what: string, shown: () => { cert: string; key: string }, why: RegExp][] = [
    ['one of another authority', () => certificate({ issuer: authority('Other') }), /not in tls_ca/],
    ['a self-signed one', () => certificate(), /self-signed/],
    ['an expired one', () => expiredCertificate({ issuer: ca }), /has expired/],
  ];
  for (const [what, shown, why] of refused) {
    test(`${what} is refused`, async () => {
      const endpoint = await tlsEndpoint({ ca: ca.cert });
      clientTls(await knock(endpoint.port), shown());
      assert.match(await messageOfClose(endpoint.closed), why);
      assert.equal(endpoint.secured.length, 0);
    });
  }

  test('a trusted one is still known after its session was resumed', async () => {
    const endpoint = await tlsEndpoint({ ca: ca.cert });
    const shown = certificate({ commonName: 'app', issuer: ca });
    const client = clientTls(await knock(endpoint.port), shown);
    const [session] = (await once(client, 'session')) as [Buffer];
    await endpoint.secured.take();
    const again = clientTls(await knock(endpoint.port), { ...shown, session });
    await once(again, 'secureConnect');
    assert.equal(again.isSessionReused(), true);
    assert.equal((await endpoint.secured.take()).info().peerSubject, '/CN=app');
  });
});

describe('connecting', () => {
  test('a server that the authority has signed for this host is taken', async () => {
    for (const host of ['127.0.0.1', 'localhost']) {
      const { secured } = await connectTo(own, {}, host);
      assert.equal((await secured.take()).info().peerSubject, '/CN=db.test');
    }
  });

  test('its own certificate is shown to a server that asks', async () => {
    const client = certificate({ commonName: 'dbproxy', issuer: ca });
    const options = { ...own, ca: ca.cert, requestCert: true, rejectUnauthorized: true };
    const { secured, server } = await connectTo(options, { own: client });
    const [socket] = (await once(server, 'secureConnection')) as [tls.TLSSocket];
    assert.equal(socket.getPeerX509Certificate()?.subject, 'CN=dbproxy');
    await secured.take();
  });

  test('without verify every certificate will do', async () => {
    const { secured } = await connectTo(expiredCertificate(), { verify: false }, 'elsewhere.test');
    await secured.take();
  });

  const refused: [what: string, shown: () => { cert: string; key: string }, host: string, why: RegExp][] = [
    [
      'has expired',
      () => expiredCertificate({ issuer: ca }),
      'localhost',
      /server's certificate has expired/,
    ],
    ['is self-signed', () => certificate(), 'localhost', /server's certificate is self-signed/],
    ['is of another authority', () => certificate({ issuer: authority('X') }), 'localhost', /not in tls_ca/],
    ['names another host', () => own, 'other.test', /does not name it: Host: other\.test\. is not in/],
  ];
  for (const [what, shown, host, why] of refused) {
    test(`a server whose certificate ${what} is refused`, async () => {
      const { secured, closed } = await connectTo(shown(), {}, host);
      assert.match(await messageOfClose(closed), why);
      assert.equal(secured.length, 0);
    });
  }

  test('a server that asks for a certificate, and gets none, is named', async () => {
    const options = { ...own, ca: ca.cert, requestCert: true, maxVersion: 'TLSv1.2' } as const;
    const { closed } = await connectTo(options, {});
    assert.match(await messageOfClose(closed), /server/);
  });

  test('a server that answers in plain text is named', async () => {
    const server = net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write('5.5.5-10.11.6-MariaDB');
    });
    const { closed } = await connectToServer(server, {}, 'localhost');
    assert.match(await messageOfClose(closed), /server sent plain text/);
  });

  test('a server that closes in the middle is named', async () => {
    const server = net.createServer((socket) => socket.end());
    const { closed } = await connectToServer(server, {}, 'localhost');
    assert.match(await messageOfClose(closed), /server closed the connection in the middle/);
  });
});

describe('backpressure', () => {
  test('a peer that does not read: the second write waits, its drain comes when the peer reads again', async () => {
    const drains = new Inbox<void>();
    const endpoint = await tlsEndpoint({}, { onDrain: () => drains.put() });
    const client = clientTls(await knock(endpoint.port));
    const stream = await endpoint.secured.take();
    client.pause();
    const first = Buffer.alloc(LARGE, 'a');
    assert.equal(stream.write(first), true);
    // It has been copied: the memory is ours again.
    first.fill('x');
    assert.equal(stream.write(Buffer.alloc(LARGE, 'b')), false);
    assert.equal(stream.write(Buffer.from('c')), false);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(drains.length, 0);
    const chunks: Buffer[] = [];
    let left = 2 * LARGE + 1;
    client.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      left -= chunk.length;
      if (left === 0) client.emit('all');
    });
    const all = once(client, 'all');
    client.resume();
    await all;
    await drains.take();
    const expected = Buffer.concat([Buffer.alloc(LARGE, 'a'), Buffer.alloc(LARGE, 'b'), Buffer.from('c')]);
    assert.ok(Buffer.concat(chunks).equals(expected));
    assert.equal(drains.length, 0, 'one drain, for the last of them');
  });

  test('what is paused stays as it is and stops the peer, and goes on at resume', async () => {
    const lengths: number[] = [];
    const more = new Inbox<void>();
    const endpoint = await tlsEndpoint();
    const client = clientTls(await knock(endpoint.port));
    const stream = await endpoint.secured.take();
    stream.handler = {
      ...quiet,
      onData: (length) => {
        lengths.push(length);
        stream.pause();
        more.put();
      },
    };
    client.write(Buffer.alloc(LARGE, 'z'));
    await more.take();
    const held = stream.input;
    const before = Buffer.from(held);
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(stream.input, held);
    assert.ok(held.equals(before));
    assert.equal(lengths.length, 1);
    assert.ok(client.writableLength > 0, 'the peer is stopped');
    let total = lengths[0]!;
    while (total < LARGE) {
      stream.resume();
      await more.take();
      total += lengths.at(-1)!;
    }
    assert.equal(total, LARGE);
  });

  test('a peer that goes on sending after our end is cut off', async () => {
    const endpoint = await tlsEndpoint();
    const client = clientTls(await knock(endpoint.port), { allowHalfOpen: true } as tls.ConnectionOptions);
    const stream = await endpoint.secured.take();
    stream.end();
    client.write(Buffer.alloc(LARGE));
    await endpoint.closed.take();
    assert.equal(stream.destroyed, true);
  });
});
