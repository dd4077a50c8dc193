/**
 * Free TCP ports on 127.0.0.1, from below the range that outgoing connections are given theirs from, so
 * that none of those takes one between our look and its use.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';

const LOWEST = 15_000;
const HIGHEST = 32_000;

const given = new Set<number>();

/** `count` ports that were free a moment ago and that this process has not been given before. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    ports.push(port);
  }
  return ports;
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
