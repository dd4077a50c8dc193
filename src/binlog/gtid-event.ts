/**
 * The event that begins a transaction where global ids are kept, in its four forms.
 *
 * | event          | id                          | what else is of use                           |
 * |----------------|-----------------------------|-----------------------------------------------|
 * | GTID           | `uuid:number`               | when it was committed first, in microseconds  |
 * | GTID_TAGGED    | `uuid:tag:number`           | the same                                      |
 * | ANONYMOUS_GTID | none                        | the same                                      |
 * | MariaDB's GTID | `domain-server-sequence`    | whether it is a single statement, DDL, XA     |
 *
 * Manual: mysql::binlog::event::Gtid_event, mysql::serialization; mariadb.com/kb/en/gtid_event.
 */
import { EventType, type BinlogEvent } from './event.ts';
import { EventReader, UnreadableEvent } from './reader.ts';

export interface TransactionHead {
  /** Null for a transaction without a global id. */
  readonly gtid: string | null;
  /** Microseconds since the Unix epoch at the server where it was committed first; null where nobody says. */
  readonly committedAtUs: bigint | null;
  /** It is one statement that has no BEGIN and no COMMIT. */
  readonly isStandalone: boolean;
  /** It is part of an XA transaction. */
  readonly isXa: boolean;
}

/** Flags of MariaDB's event. */
const STANDALONE = 1;
const GROUP_COMMIT_ID = 2;
const PREPARED_XA = 64;
const COMPLETED_XA = 128;

/** The top bit of a time says that a second one follows. */
const SECOND_TIME = 1n << 55n;

/** Reads an event of one of the four types. */
export function parseTransactionHead(event: BinlogEvent): TransactionHead {
  const reader = new EventReader(event.body);
  switch (event.type) {
    case EventType.GTID:
    case EventType.ANONYMOUS_GTID:
      return mysqlHead(reader, event.type === EventType.ANONYMOUS_GTID);
    case EventType.GTID_TAGGED:
      return taggedHead(reader);
    case EventType.MARIADB_GTID:
      return mariadbHead(reader, event.serverId);
    default:
      throw new UnreadableEvent(`event type ${event.type} does not begin a transaction`);
  }
}

/** Flags 1, uuid 16, number 8; from 5.7 on kind 1, two times of the logical clock 8 each; from 8.0 on commit times. */
function mysqlHead(reader: EventReader, isAnonymous: boolean): TransactionHead {
  reader.skip(1);
  const uuid = formatUuid(reader.bytes(16));
  const number = reader.i64();
  let committedAtUs: bigint | null = null;
  if (reader.remaining >= 17) {
    reader.skip(17);
    if (reader.remaining >= 7) committedAtUs = readCommitTimes(reader);
  }
  const gtid = isAnonymous ? null : `${uuid}:${number}`;
  return { gtid, committedAtUs, isStandalone: false, isXa: false };
}

/** Seven bytes: when it was committed here, and a flag that it was committed first elsewhere, at a time that follows. */
function readCommitTimes(reader: EventReader): bigint {
  const here = readTime(reader);
  return (here & SECOND_TIME) === 0n ? here : readTime(reader);
}

function readTime(reader: EventReader): bigint {
  return BigInt(reader.u48()) | (BigInt(reader.u8()) << 48n);
}

/** Fields of the tagged event that are read; each is announced by its number. */
const TaggedField = {
  FLAGS: 0,
  UUID: 1,
  NUMBER: 2,
  TAG: 3,
  LAST_COMMITTED: 4,
  SEQUENCE: 5,
  COMMITTED_HERE: 6,
  COMMITTED_FIRST: 7,
} as const;

/** Version, bytes of the message, the last field that must be known; then number and value of each field. */
function taggedHead(reader: EventReader): TransactionHead {
  const version = readVariable(reader);
  if (version !== 0n && version !== 1n) {
    throw new UnreadableEvent(`version ${version} of a tagged GTID is not known here`);
  }
  readVariable(reader);
  readVariable(reader);
  let uuid = '';
  let tag = '';
  let number = 0n;
  let here: bigint | null = null;
  let first: bigint | null = null;
  for (;;) {
    const field = Number(readVariable(reader));
    if (field === TaggedField.FLAGS) reader.skip(variableLength(reader));
    else if (field === TaggedField.UUID) uuid = readVariableUuid(reader);
    else if (field === TaggedField.NUMBER) number = readSignedVariable(reader);
    else if (field === TaggedField.TAG) tag = reader.text(Number(readVariable(reader)));
    else if (field === TaggedField.LAST_COMMITTED || field === TaggedField.SEQUENCE) readVariable(reader);
    else if (field === TaggedField.COMMITTED_HERE) here = readVariable(reader);
    else if (field === TaggedField.COMMITTED_FIRST) first = readVariable(reader);
    // What comes after these is of no use here.
    else break;
    if (reader.remaining === 0) break;
  }
  if (uuid === '' || number <= 0n) throw new UnreadableEvent('a tagged GTID without its number');
  const gtid = tag === '' ? `${uuid}:${number}` : `${uuid}:${tag}:${number}`;
  return { gtid, committedAtUs: first ?? here, isStandalone: false, isXa: false };
}

/** Sequence 8, domain 4, flags 1; the server's id is in the header. */
function mariadbHead(reader: EventReader, serverId: number): TransactionHead {
  const sequence = reader.u64();
  const domain = reader.u32();
  const flags = reader.u8();
  if ((flags & GROUP_COMMIT_ID) !== 0) reader.skip(8);
  return {
    gtid: `${domain}-${serverId}-${sequence}`,
    committedAtUs: null,
    isStandalone: (flags & STANDALONE) !== 0,
    isXa: (flags & (PREPARED_XA | COMPLETED_XA)) !== 0,
  };
}

/**
 * GTID_LIST_EVENT, in MariaDB's second event of a file: of each domain and server the last id in the files before.
 * Manual: mariadb.com/kb/en/gtid_list_event.
 */
export function parseGtidList(event: BinlogEvent): string[] {
  const reader = new EventReader(event.body);
  const count = reader.u32() & 0x0fffffff;
  const list: string[] = [];
  for (let index = 0; index < count; index++) {
    const domain = reader.u32();
    const server = reader.u32();
    list.push(`${domain}-${server}-${reader.u64()}`);
  }
  return list;
}

/** The bits 1 that the first byte ends with say how many bytes follow it. */
function variableLength(reader: EventReader): number {
  let [head, further] = [reader.u8(), 0];
  for (; (head & 1) === 1; head >>= 1) further++;
  return further;
}

/** A number of 1 to 9 bytes (mysql::serialization: variable length integers). */
function readVariable(reader: EventReader): bigint {
  const first = reader.u8();
  let further = 0;
  while (((first >> further) & 1) === 1) further++;
  let value = 0n;
  for (let index = 0; index < further; index++) value |= BigInt(reader.u8()) << BigInt(8 * index);
  // Of the first byte the upper bits are the lowest of the number; with 8 or 9 bytes there are none.
  const ownBits = Math.max(0, 7 - further);
  return (value << BigInt(ownBits)) | BigInt(further >= 7 ? 0 : first >> (further + 1));
}

/** The sign is the lowest bit. */
function readSignedVariable(reader: EventReader): bigint {
  const value = readVariable(reader);
  return (value & 1n) === 0n ? value >> 1n : -((value >> 1n) + 1n);
}

function readVariableUuid(reader: EventReader): string {
  return formatUuid(Buffer.from(Array.from({ length: 16 }, () => Number(readVariable(reader)) & 0xff)));
}

/** 16 bytes as servers write them. */
export function formatUuid(bytes: Buffer): string {
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
