/**
 * The right to listen on an address of this host, held by one dbproxy at a time. All workers of a dbproxy bind the same
 * address (SO_REUSEPORT), and the kernel would let another dbproxy of the same user do so, too: each connection would land
 * at either. So whoever is to listen claims the address first:
 *
 * 1. by a lock, a Unix socket in Linux' abstract namespace with the address in its name. It has the same reach as the
 *    address itself (the network namespace), nobody shares it, and it is gone with its process, however that ended. Who
 *    connects to it is told who holds it.
 * 2. by binding the address once as nobody shares it, which fails while anybody listens there: a dbproxy that knows no
 *    lock, workers that have not noticed the end of theirs yet, one on the same port of all addresses (0.0.0.0).
 */
import { createHash } from 'node:crypto';
import net from 'node:net';
import { formatEndpoint, type Endpoint } from './address.ts';
import type { Clock } from './clock.ts';

export type TcpEndpoint = Extract<Endpoint, { kind: 'tcp' }>;

export type ClaimOutcome =
  | { readonly kind: 'claimed'; readonly release: () => void }
  /** `by`: who has it, as far as is known. */
  | { readonly kind: 'taken'; readonly by: string };

/** A name in the abstract namespace is no longer than 107 bytes. */
const NAME_BYTES_MAX = 100;
/** How long who holds it may take to say who that is, and how much is read of that. */
const ANSWER_TIMEOUT_MS = 500;
const ANSWER_CHARS_MAX = 300;

/** Claims `address`; `holder`: what others are told who want it meanwhile. Never rejects. */
export async function claimAddress(
  address: TcpEndpoint,
  holder: string,
  clock: Clock,
): Promise<ClaimOutcome> {
  const name = nameOf(address);
  const lock = net.createServer((asker) => {
    asker.on('error', () => undefined);
    asker.end(holder);
  });
  const failure = process.platform === 'linux' ? await listening(lock, { path: name }) : null;
  if (failure === 'EADDRINUSE') return { kind: 'taken', by: await askHolder(name, clock) };
  // What forbids us to have locks forbids nobody to listen.
  const release = (): void => void (failure === null && lock.listening && lock.close());
  if (!(await isTaken(address))) return { kind: 'claimed', release };
  release();
  return { kind: 'taken', by: 'another process' };
}

/** Any other failure, as of an address that this host does not have now, is for the workers to tell. */
async function isTaken({ host, port }: TcpEndpoint): Promise<boolean> {
  const probe = net.createServer((client) => client.destroy());
  const failure = await listening(probe, { host, port });
  if (failure === null) await new Promise((resolve) => probe.close(resolve));
  return failure === 'EADDRINUSE';
}

/** Null when it listens, otherwise the code of what kept it from that. */
function listening(server: net.Server, where: net.ListenOptions): Promise<string | null> {
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ ...where, exclusive: true }, () => {
      server.removeAllListeners('error');
      server.on('error', () => undefined);
      server.unref();
      resolve(null);
    });
  });
}

function askHolder(path: string, clock: Clock): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = net.connect({ path });
    const timer = clock.after(ANSWER_TIMEOUT_MS, () => socket.destroy());
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      answer += chunk;
      if (answer.length > ANSWER_CHARS_MAX) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.once('close', () => {
      timer.cancel();
      // Anybody on this host may have taken the name: what he says goes to the log.
      const words = answer.slice(0, ANSWER_CHARS_MAX).replace(/\p{Cc}/gu, ' ');
      resolve(words === '' ? 'another dbproxy' : `another dbproxy (${words})`);
    });
  });
}

function nameOf(address: TcpEndpoint): string {
  const name = `dbproxy listens on ${formatEndpoint(address)}`;
  const isLong = Buffer.byteLength(name) > NAME_BYTES_MAX;
  return `\0${isLong ? `dbproxy ${createHash('sha256').update(name).digest('hex')}` : name}`;
}
