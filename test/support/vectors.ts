/**
 * The vectors recorded from a real MariaDB 10.11 (see test/vectors/capture.ts), read.
 */
import { readFileSync } from 'node:fs';

/** One command and all that the server answered to it. */
export interface ReplyVector {
  name: string;
  command: number;
  deprecateEof: boolean;
  request: Buffer;
  reply: Buffer;
  /** The rest of a LOAD DATA LOCAL: the client's packets, and the server's answer to them. */
  file?: Buffer;
  afterFile?: Buffer;
}

/** The packets of the recorded logins, by name. */
export const loginVectors: Record<string, Buffer> = Object.fromEntries(
  Object.entries(load('logins.json') as Record<string, string>).map(([name, hex]) => [
    name,
    Buffer.from(hex, 'hex'),
  ]),
);

export const replyVectors: readonly ReplyVector[] = (
  load('replies.json') as (Record<'name' | 'request' | 'reply', string> & {
    command: number;
    deprecateEof: boolean;
    file?: string;
    afterFile?: string;
  })[]
).map(({ name, command, deprecateEof, request, reply, file, afterFile }) => ({
  name,
  command,
  deprecateEof,
  request: Buffer.from(request, 'hex'),
  reply: Buffer.from(reply, 'hex'),
  ...(file === undefined ? {} : { file: Buffer.from(file, 'hex') }),
  ...(afterFile === undefined ? {} : { afterFile: Buffer.from(afterFile, 'hex') }),
}));

/** The payloads of whole packets, one after the other. */
export function payloadsOf(bytes: Buffer): Buffer[] {
  const payloads: Buffer[] = [];
  for (let offset = 0; offset < bytes.length;) {
    const length = bytes.readUIntLE(offset, 3);
    payloads.push(bytes.subarray(offset + 4, offset + 4 + length));
    offset += 4 + length;
  }
  return payloads;
}

function load(file: string): unknown {
  return JSON.parse(readFileSync(new URL(`../vectors/${file}`, import.meta.url), 'utf8'));
}
