import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { ByteSocket, type SocketHandler } from '../../../src/base/socket.ts';
import { Inbox } from '../../support/inbox.ts';

const quiet: SocketHandler = { onData: () => undefined, onDrain: () => undefined, onClose: () => undefined };
/** More than the kernel keeps for a peer that does not read. */
const LARGE = 32 * 1024 * 1024;

async function pair(
  handler: Partial<SocketHandler>,
  inputBytes = 1024,
): Promise<{ ours: ByteSocket; peer: net.Socket; close: () => void }> {
  const server = net.createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const arrived = once(server, 'connection') as Promise<[net.Socket]>;
  const peer = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  peer.on('error', () => undefined);
  const [accepted] = await arrived;
  const ours = ByteSocket.accept(accepted, inputBytes, { ...quiet, ...handler })!;
  const close = (): void => {
    ours.destroy();
    peer.destroy();
    server.close();
  };
  return { ours, peer, close };
}

/** A connection with an input buffer of the size that is used again, which its peer has written to. */
async function shortConnection(pauses: boolean): Promise<Buffer> {
  const arrived = new Inbox<void>();
  const closed = new Inbox<void>();
  const { ours, peer, close } = await pair(
    {
      onData: () => {
        if (pauses) ours.pause();
        arrived.put();
      },
      onClose: () => closed.put(),
    },
    16 * 1024,
  );
  ours.resume();
  peer.write('hello');
  await arrived.take();
  close();
  await closed.take();
  await someTurns();
  return ours.input;
}

async function someTurns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

test('a drain is told when all writes have been taken, and not for those before the last', async () => {
  const drains = new Inbox<void>();
  const { ours, peer, close } = await pair({
    onDrain: () => {
      drains.put();
      if (again) return;
      again = true;
      // As a relay does: the next write follows from within, and the peer reads no more.
      peer.pause();
      assert.equal(ours.write(Buffer.alloc(LARGE)), false);
    },
  });
  let again = false;
  assert.equal(ours.write(Buffer.alloc(LARGE)), false);
  assert.equal(ours.write(Buffer.alloc(LARGE)), false);
  peer.resume();
  await drains.take();
  await someTurns();
  assert.equal(drains.length, 0, 'the third write has not been taken');
  peer.resume();
  await drains.take();
  close();
});

test('what is queued at the end is sent, what comes after it is dropped, and the close is told once', async () => {
  const closed = new Inbox<Error | undefined>();
  const heard: number[] = [];
  const { ours, peer, close } = await pair({
    onData: (length) => heard.push(length),
    onClose: (error) => closed.put(error),
  });
  ours.resume();
  ours.end(Buffer.from('bye'));
  peer.write('too late');
  const [chunk] = (await once(peer, 'data')) as [Buffer];
  assert.equal(chunk.toString(), 'bye');
  assert.equal(await closed.take(), undefined);
  await someTurns();
  assert.equal(closed.length, 0);
  assert.deepEqual(heard, []);
  close();
});

test('the input buffer of a connection that is over serves the next one, unless its bytes may still be needed', async () => {
  const first = await shortConnection(false);
  const second = await shortConnection(true);
  assert.equal(second, first);
  assert.notEqual(await shortConnection(false), second);
});

test('a peer that goes on sending after our end is cut off', async () => {
  const closed = new Inbox<Error | undefined>();
  const { ours, peer, close } = await pair({ onClose: (error) => closed.put(error) });
  ours.end();
  peer.on('end', () => undefined);
  peer.write(Buffer.alloc(LARGE));
  await closed.take();
  assert.equal(ours.destroyed, true);
  close();
});
