/**
 * Free TCP ports on 127.0.0.1, from below the range that outgoing connections are given theirs from, so
 * that none of those takes one between our look and its use.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';

const LOWEST = 15_000;
const HIGHEST = 32_000;

/** `count` ports that were free a moment ago, and that no other test is given as long as this process lives. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if ((await claim(port)) && (await isFree(port))) ports.push(port);
  }
  return ports;
}

/**
 * Takes a port for this process: files are tested side by side, and from the look to the use of a port a server has to start.
 * The claim is a socket in Linux' abstract namespace, which the kernel lets go of with the process.
 */
async function claim(port: number): Promise<boolean> {
  const holder = createServer();
  try {
    holder.listen(`\0dbproxy-test-port-${port}`);
    await once(holder, 'listening');
    holder.unref();
    return true;
  } catch {
    return false;
  }
}

/** True when nothing listens on the port of 127.0.0.1 now. */
export async function isFree(port: number): Promise<boolean> {
  const trial = createServer();
  try {
    trial.listen(port, '127.0.0.1');
    await once(trial, 'listening');
    trial.close();
    await once(trial, 'close');
    return true;
  } catch {
    return false;
  }
}
