/**
 * Binlog events recorded from real servers (see test/vectors/capture-binlog.ts), read.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { TableDefinition } from '../../src/binlog/definition.ts';

export interface BinlogVector {
  readonly name: string;
  readonly hasChecksums: boolean;
  readonly definitions: ReadonlyMap<string, TableDefinition>;
  readonly events: readonly Buffer[];
  readonly transactions: readonly unknown[];
}

const folder = new URL('../vectors/binlog/', import.meta.url);

export const binlogVectors: readonly BinlogVector[] = readdirSync(folder).map((file) => {
  const vector = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as {
    hasChecksums: boolean;
    definitions: [string, TableDefinition][];
    events: string[];
    transactions: unknown[];
  };
  return {
    name: file.replace('.json', ''),
    hasChecksums: vector.hasChecksums,
    definitions: new Map(vector.definitions),
    events: vector.events.map((hex) => Buffer.from(hex, 'hex')),
    transactions: vector.transactions,
  };
});

/** An event with this body and no checksum, as it would lie in a log without them. */
export function eventOf(type: number, body: Buffer, flags = 0, serverId = 1, endPosition = 1000): Buffer {
  const header = Buffer.alloc(19);
  header.writeUInt32LE(1_700_000_000, 0);
  header.writeUInt8(type, 4);
  header.writeUInt32LE(serverId, 5);
  header.writeUInt32LE(19 + body.length, 9);
  header.writeUInt32LE(endPosition, 13);
  header.writeUInt16LE(flags, 17);
  return Buffer.concat([header, body]);
}
