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

/** A login by one plugin against a real server (see test/vectors/capture-logins.ts). */
export interface PluginLogin {
  name: string;
  user: string;
  password: string;
  /** Whole packets in their order. */
  packets: { fromServer: boolean; bytes: Buffer }[];
}

export const pluginLogins: readonly PluginLogin[] = (
  load('plugin-logins.json') as (Omit<PluginLogin, 'packets'> & { packets: string[] })[]
).map(({ packets, ...login }) => ({
  ...login,
  packets: packets.map((text) => ({
    fromServer: text.startsWith('<'),
    bytes: Buffer.from(text.slice(1), 'hex'),
  })),
}));

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

/** An answer whose form depends on newer flags, and those flags. */
export interface NewerReplyVector {
  name: string;
  capabilities: number;
  extendedCapabilities: number;
  command: number;
  reply: Buffer;
}

/** Recorded from MySQL 9.7 and MariaDB 10.11 (see test/vectors/capture-newer.ts). */
export const newerReplyVectors: readonly NewerReplyVector[] = (
  load('replies-newer.json') as (Omit<NewerReplyVector, 'reply'> & { reply: string })[]
).map((vector) => ({ ...vector, reply: Buffer.from(vector.reply, 'hex') }));
