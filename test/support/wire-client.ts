/**
 * A raw MySQL client for tests: logs in with the capability flags it is told, sends any command, and hands
 * back every packet of the answer as a meaning with its sequence number (see wire-decode.ts). It checks
 * nothing and mends nothing; two of them, one direct and one through the proxy, are compared.
 * Manual: page_protocol_command_phase, page_protocol_basic_compression_packet.
 */
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { deflateSync, inflateSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { Inbox } from './inbox.ts';
import { AnswerReader, type Meaning, type WireForm, type WirePacket } from './wire-decode.ts';
import {
  encryptedPassword,
  lenenc,
  lenencText,
  pluginAnswer,
  readGreeting,
  responseHead,
  writeResponse,
  type WireGreeting,
} from './wire-login.ts';

export interface WireOptions {
  port: number;
  user: string;
  password: string;
  database: string;
  /** Collation id. */
  collation: number;
  /** Flags wanted, those of the login among them; what the server does not offer is left out. */
  capabilities: number;
  /** MariaDB's upper 32 flags wanted. */
  extended: number;
  attributes: Record<string, string>;
  /** Ask for TLS. Certificates are not verified here. */
  tls: boolean;
  compression: 'none' | 'zlib' | 'zstd';
  /** For one answer; a proxy that swallows a packet must not hang a test. */
  timeoutMs: number;
}

/** A parameter of a prepared statement, or a query attribute: null, or a type with its bytes. */
export interface WireParameter {
  /** MYSQL_TYPE, unsigned flag in the high byte. */
  type: number;
  value: Buffer | null;
  /** Query attributes have names. */
  name?: string;
}

export const WireFlag = {
  LONG_PASSWORD: 0x1,
  FOUND_ROWS: 0x2,
  LONG_FLAG: 0x4,
  CONNECT_WITH_DB: 0x8,
  COMPRESS: 0x20,
  LOCAL_FILES: 0x80,
  IGNORE_SPACE: 0x100,
  PROTOCOL_41: 0x200,
  INTERACTIVE: 0x400,
  SSL: 0x800,
  TRANSACTIONS: 0x2000,
  SECURE_CONNECTION: 0x8000,
  MULTI_STATEMENTS: 0x10000,
  MULTI_RESULTS: 0x20000,
  PS_MULTI_RESULTS: 0x40000,
  PLUGIN_AUTH: 0x80000,
  CONNECT_ATTRS: 0x100000,
  SESSION_TRACK: 0x800000,
  DEPRECATE_EOF: 0x1000000,
  OPTIONAL_METADATA: 0x2000000,
  ZSTD: 0x4000000,
  QUERY_ATTRIBUTES: 0x8000000,
} as const;

export const WireExtended = {
  PROGRESS: 1,
  BULK: 4,
  METADATA: 8,
  CACHE_METADATA: 16,
  BULK_RESULTS: 32,
} as const;

/** What every login of this client needs. */
const LOGIN_FLAGS =
  WireFlag.LONG_PASSWORD |
  WireFlag.LONG_FLAG |
  WireFlag.PROTOCOL_41 |
  WireFlag.TRANSACTIONS |
  WireFlag.SECURE_CONNECTION |
  WireFlag.PLUGIN_AUTH;

const MOST = 0xffffff;
const DEFAULTS: Omit<WireOptions, 'port'> = {
  user: 'app',
  password: 'app',
  database: 'demo',
  collation: 45,
  capabilities: WireFlag.MULTI_RESULTS | WireFlag.PS_MULTI_RESULTS,
  extended: 0,
  attributes: {},
  tls: false,
  compression: 'none',
  timeoutMs: 20_000,
};

/** Types that tests write parameters of. */
const Type = { TINY: 1, DOUBLE: 5, NULL: 6, LONGLONG: 8, STRING: 254 } as const;

/** A string, a number or nothing as a parameter. */
export function parameter(value: string | number | Buffer | null, name?: string): WireParameter {
  const named = name === undefined ? {} : { name };
  if (value === null) return { type: Type.NULL, value: null, ...named };
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return { type: Type.LONGLONG, value: bytes, ...named };
  }
  const bytes = Buffer.isBuffer(value) ? value : Buffer.from(value, 'utf8');
  return { type: Type.STRING, value: Buffer.concat([lenenc(bytes.length), bytes]), ...named };
}

export class WireClient {
  /** What was agreed. */
  readonly capabilities: number;
  readonly extended: number;
  readonly greeting: WireGreeting;
  /** What the server said to the login. */
  readonly loginAnswer: Meaning[];
  readonly #channel: Channel;
  readonly #reader: AnswerReader;
  readonly #options: WireOptions;
  /** Content for the next LOAD DATA LOCAL, packet by packet; an empty list refuses. */
  #file: Buffer[] = [];

  private constructor(
    channel: Channel,
    reader: AnswerReader,
    options: WireOptions,
    agreed: { capabilities: number; extended: number; greeting: WireGreeting; loginAnswer: Meaning[] },
  ) {
    this.#channel = channel;
    this.#reader = reader;
    this.#options = options;
    this.capabilities = agreed.capabilities;
    this.extended = agreed.extended;
    this.greeting = agreed.greeting;
    this.loginAnswer = agreed.loginAnswer;
    reader.form = formOf(agreed.capabilities, agreed.extended);
  }

  /** Connects and logs in. A refused login is a client whose `loginAnswer` ends in an error. */
  static async connect(wanted: Partial<WireOptions> & { port: number }): Promise<WireClient> {
    const options = { ...DEFAULTS, ...wanted };
    const channel = await Channel.open(options.port, options.timeoutMs);
    const reader = new AnswerReader(() => channel.next());
    const { payload } = await channel.next();
    if (payload[0] === 0xff) throw new Error(`refused at once: ${payload.toString('latin1', 3)}`);
    const greeting = readGreeting(payload);
    const response = responseTo(greeting, options);
    let sequence = 1;
    if (options.tls) {
      if ((greeting.capabilities & WireFlag.SSL) === 0) throw new Error('the server offers no TLS');
      channel.send(responseHead(response), sequence++);
      await channel.encrypt();
    }
    channel.send(writeResponse(response), sequence);
    await authenticate(channel, reader, options, greeting.plugin, greeting.scramble);
    // The request for TLS takes one number; the rest is compared without it.
    const shift = options.tls ? 1 : 0;
    const loginAnswer = reader.take().map((one) => ({ ...one, sequence: one.sequence - shift }));
    if (loginAnswer.at(-1)!.kind === 'ok' && options.compression !== 'none') {
      const flag = options.compression === 'zlib' ? WireFlag.COMPRESS : WireFlag.ZSTD;
      if ((response.capabilities & flag) === 0)
        throw new Error(`the server offers no ${options.compression}`);
      channel.compress(options.compression);
    }
    const { capabilities, extended } = response;
    return new WireClient(channel, reader, options, { capabilities, extended, greeting, loginAnswer });
  }

  /** Packets that nobody asked for, taken so far. */
  get unasked(): number {
    return this.#channel.waiting;
  }

  /** Faults in the numbering of pieces and of compressed packets; empty in a good world. */
  get faults(): readonly string[] {
    return this.#channel.faults;
  }

  has(flag: number): boolean {
    return (this.capabilities & flag) !== 0;
  }

  /** COM_QUERY; `file`: what to send when the server asks for one, each buffer as a packet (or a chain). */
  query(sql: string | Buffer, file: Buffer[] = [], attributes: WireParameter[] = []): Promise<Meaning[]> {
    this.#file = file;
    const text = typeof sql === 'string' ? Buffer.from(sql, 'utf8') : sql;
    return this.#ask(0x03, Buffer.concat([this.#attributes(attributes), text]), () => this.#results(null));
  }

  prepare(sql: string): Promise<Meaning[]> {
    return this.#ask(0x16, Buffer.from(sql, 'utf8'), async () => void (await this.#reader.prepared()));
  }

  /** The id in an answer to `prepare`. */
  static idOf(answer: readonly Meaning[]): number {
    const first = answer[0];
    if (first?.kind !== 'prepared') throw new Error(`not prepared: ${JSON.stringify(first)}`);
    return first.id;
  }

  /** COM_STMT_EXECUTE. `typesToo` false: without the types of the parameters, as sent before. */
  execute(
    id: number,
    parameters: WireParameter[] = [],
    { cursor = 0, typesToo = true, attributes = [] as WireParameter[] } = {},
  ): Promise<Meaning[]> {
    const head = Buffer.alloc(9);
    head.writeUInt32LE(id);
    const takesAttributes = this.has(WireFlag.QUERY_ATTRIBUTES);
    head[4] = cursor | (takesAttributes ? 8 : 0);
    head.writeUInt32LE(1, 5);
    const all = [...parameters, ...attributes];
    const count = takesAttributes ? lenenc(all.length) : Buffer.alloc(0);
    const values = all.length === 0 ? Buffer.alloc(0) : parameterBlock(all, typesToo, takesAttributes);
    return this.#ask(0x17, Buffer.concat([head, count, values]), () => this.#results(id));
  }

  /** MariaDB's COM_STMT_BULK_EXECUTE: many rows of parameters. */
  bulkExecute(id: number, rows: WireParameter[][], flags = 128): Promise<Meaning[]> {
    const head = Buffer.alloc(6);
    head.writeUInt32LE(id);
    head.writeUInt16LE(flags, 4);
    const types = Buffer.concat(rows[0]!.map(({ type }) => Buffer.from([type & 0xff, type >> 8])));
    const values = rows
      .flat()
      .flatMap(({ value }) => (value === null ? [Buffer.from([1])] : [Buffer.from([0]), value]));
    return this.#ask(0xfa, Buffer.concat([head, types, ...values]), () => this.#results(id));
  }

  /** Has no answer. */
  longData(id: number, index: number, data: Buffer): void {
    const head = Buffer.alloc(6);
    head.writeUInt32LE(id);
    head.writeUInt16LE(index, 4);
    this.send(0x18, Buffer.concat([head, data]));
  }

  /** Has no answer. */
  close(id: number): void {
    this.send(0x19, u32(id));
  }

  fetch(id: number, rows: number): Promise<Meaning[]> {
    return this.#ask(0x1c, Buffer.concat([u32(id), u32(rows)]), () => this.#reader.fetched(id));
  }

  resetStatement(id: number): Promise<Meaning[]> {
    return this.single(0x1a, u32(id));
  }

  fieldList(table: string, pattern = ''): Promise<Meaning[]> {
    return this.#ask(0x04, Buffer.from(`${table}\0${pattern}`), () => this.#reader.fields());
  }

  statistics(): Promise<Meaning[]> {
    return this.#ask(0x09, Buffer.alloc(0), () => this.#reader.text());
  }

  ping(): Promise<Meaning[]> {
    return this.single(0x0e);
  }

  /** COM_CHANGE_USER, with its authentication. */
  changeUser(user: string, password: string, database: string, collation: number): Promise<Meaning[]> {
    const { plugin, scramble } = this.greeting;
    const answer = pluginAnswer(plugin, password, scramble);
    const body = Buffer.concat([
      Buffer.from(`${user}\0`),
      Buffer.from([answer.length]),
      answer,
      Buffer.from(`${database}\0`),
      Buffer.from([collation & 0xff, collation >> 8]),
      Buffer.from(`${plugin}\0`),
      ...(this.has(WireFlag.CONNECT_ATTRS) ? [Buffer.from([0])] : []),
    ]);
    const options = { ...this.#options, password };
    return this.#ask(0x11, body, () => authenticate(this.#channel, this.#reader, options, plugin, scramble));
  }

  /** Any command that is answered by one packet. */
  single(command: number, body: Buffer = Buffer.alloc(0)): Promise<Meaning[]> {
    return this.#ask(command, body, () => this.#reader.single());
  }

  /** Any command that is answered as a query is. */
  resultsOf(command: number, body: Buffer = Buffer.alloc(0)): Promise<Meaning[]> {
    return this.#ask(command, body, () => this.#results(null));
  }

  /** Sends a command and waits for nothing. */
  send(command: number, body: Buffer = Buffer.alloc(0)): void {
    this.#channel.send(Buffer.concat([Buffer.from([command]), body]), 0);
  }

  /** Sends bytes as they are, headers and all. */
  sendRaw(bytes: Buffer): void {
    this.#channel.write(bytes);
  }

  /** Reads one more answer of one packet: for what was sent by `sendRaw`. */
  readSingle(): Promise<Meaning[]> {
    return this.#read(() => this.#reader.single());
  }

  /** Reads one more answer to a query. */
  readResults(): Promise<Meaning[]> {
    return this.#read(() => this.#results(null));
  }

  /** Waits until the server has closed; what came before that. */
  async readClose(): Promise<Meaning[]> {
    return this.#read(async () => {
      for (;;) await this.#reader.single();
    });
  }

  destroy(): void {
    this.#channel.destroy();
  }

  #results(statement: number | null): Promise<void> {
    return this.#reader.results(statement, (sequence) => {
      let number = sequence;
      for (const piece of [...this.#file, Buffer.alloc(0)]) number = this.#channel.send(piece, number);
      this.#file = [];
    });
  }

  #ask(command: number, body: Buffer, read: () => Promise<void>): Promise<Meaning[]> {
    this.send(command, body);
    return this.#read(read);
  }

  /** An answer that ends with the connection is an answer too. */
  async #read(read: () => Promise<void>): Promise<Meaning[]> {
    try {
      await read();
    } catch (error) {
      if (!(error instanceof ConnectionEnd)) {
        const soFar = JSON.stringify(this.#reader.take()).slice(0, 2000);
        throw new Error(`${(error as Error).message}, after ${soFar}`, { cause: error });
      }
      this.#reader.closed(error.message);
    }
    return this.#reader.take();
  }

  /** The count of attributes and the attributes, where they are agreed on (page_protocol_com_query). */
  #attributes(attributes: WireParameter[]): Buffer {
    if (!this.has(WireFlag.QUERY_ATTRIBUTES)) return Buffer.alloc(0);
    const head = Buffer.concat([lenenc(attributes.length), lenenc(1)]);
    return attributes.length === 0 ? head : Buffer.concat([head, parameterBlock(attributes, true, true)]);
  }
}

/** Null bits, types (with names where attributes are agreed on) and values. */
function parameterBlock(parameters: WireParameter[], typesToo: boolean, withNames: boolean): Buffer {
  const nulls = Buffer.alloc((parameters.length + 7) >> 3);
  parameters.forEach(({ value }, index) => {
    if (value === null) nulls[index >> 3]! |= 1 << (index & 7);
  });
  const types = parameters.map(({ type, name }) => {
    const bytes = Buffer.from([type & 0xff, type >> 8]);
    return withNames ? Buffer.concat([bytes, lenencText(name ?? '')]) : bytes;
  });
  // An empty buffer: its value came as long data.
  const values = parameters.flatMap(({ value }) => (value === null ? [] : [value]));
  return Buffer.concat([nulls, Buffer.from([typesToo ? 1 : 0]), ...(typesToo ? types : []), ...values]);
}

function responseTo(greeting: WireGreeting, options: WireOptions): Parameters<typeof writeResponse>[0] {
  const wish =
    options.capabilities |
    LOGIN_FLAGS |
    (options.database === '' ? 0 : WireFlag.CONNECT_WITH_DB) |
    (Object.keys(options.attributes).length === 0 ? 0 : WireFlag.CONNECT_ATTRS) |
    (options.tls ? WireFlag.SSL : 0) |
    (options.compression === 'zlib' ? WireFlag.COMPRESS : 0) |
    (options.compression === 'zstd' ? WireFlag.ZSTD : 0);
  const extended = (options.extended & greeting.extended) >>> 0;
  // A client with MariaDB's upper flags says so by leaving LONG_PASSWORD out.
  const isMariaDb = (greeting.capabilities & WireFlag.LONG_PASSWORD) === 0;
  const offered = greeting.capabilities | (isMariaDb && extended === 0 ? WireFlag.LONG_PASSWORD : 0);
  const known = ['mysql_native_password', 'caching_sha2_password'].includes(greeting.plugin);
  const plugin = known ? greeting.plugin : 'mysql_native_password';
  return {
    capabilities: (wish & offered) >>> 0,
    extended,
    collation: options.collation,
    user: options.user,
    answer: pluginAnswer(plugin, options.password, greeting.scramble),
    database: options.database,
    plugin,
    attributes: options.attributes,
  };
}

function formOf(capabilities: number, extended: number): WireForm {
  return {
    deprecateEof: (capabilities & WireFlag.DEPRECATE_EOF) !== 0,
    optionalMetadata: (capabilities & WireFlag.OPTIONAL_METADATA) !== 0,
    cacheMetadata: (extended & WireExtended.CACHE_METADATA) !== 0,
    extendedMetadata: (extended & WireExtended.METADATA) !== 0,
    progress: (extended & WireExtended.PROGRESS) !== 0,
  };
}

/** Answers what the server asks until it says OK or ERR. */
async function authenticate(
  channel: Channel,
  reader: AnswerReader,
  options: WireOptions,
  firstPlugin: string,
  firstScramble: Buffer,
): Promise<void> {
  let plugin = firstPlugin;
  let scramble = firstScramble;
  for (;;) {
    const { payload, sequence } = await reader.authentication();
    const answer = (bytes: Buffer): number => channel.send(bytes, sequence + 1);
    if (payload[0] === 0x00 || payload[0] === 0xff) return;
    if (payload[0] === 0xfe) {
      const end = payload.indexOf(0, 1);
      plugin = payload.toString('latin1', 1, end);
      scramble = Buffer.from(payload.subarray(end + 1));
      answer(pluginAnswer(plugin, options.password, scramble));
    } else if (payload[1] === 4 && options.tls) answer(Buffer.from(`${options.password}\0`));
    else if (payload[1] === 4) answer(Buffer.from([2]));
    else if (payload[1] === 0x2d) {
      answer(encryptedPassword(options.password, scramble, payload.toString('latin1', 1)));
    }
  }
}

/** The connection is over. */
class ConnectionEnd extends Error {}

/** Packets over a socket, with TLS and compression in between where agreed. */
class Channel {
  readonly faults: string[] = [];
  #socket: net.Socket;
  readonly #timeoutMs: number;
  readonly #packets = new Inbox<WirePacket | ConnectionEnd>();
  #received: Buffer[] = [];
  #receivedBytes = 0;
  #wantedBytes = 4;
  #pieces: Buffer[] = [];
  #firstSequence = 0;
  #compression: 'none' | 'zlib' | 'zstd' = 'none';
  #frames: Buffer = Buffer.alloc(0);
  #frameSequence = 0;
  #over: ConnectionEnd | null = null;

  private constructor(socket: net.Socket, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    this.#listen();
  }

  static async open(port: number, timeoutMs: number): Promise<Channel> {
    const socket = net.connect({ host: '127.0.0.1', port, noDelay: true });
    await once(socket, 'connect');
    return new Channel(socket, timeoutMs);
  }

  get waiting(): number {
    return this.#packets.length;
  }

  async next(): Promise<WirePacket> {
    if (this.#over !== null && this.#packets.length === 0) throw this.#over;
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => reject(new Error(`no packet within ${this.#timeoutMs} ms`)),
      this.#timeoutMs,
    );
    const item = await Promise.race([this.#packets.take(), promise]).finally(() => clearTimeout(timer));
    if (item instanceof ConnectionEnd) throw item;
    return item;
  }

  /** Sends a payload, in pieces where it is too long for one packet; answers the next number. */
  send(payload: Buffer, sequence: number): number {
    if (sequence === 0) this.#frameSequence = 0;
    let number = sequence;
    for (let offset = 0; ; offset += MOST) {
      const piece = payload.subarray(offset, offset + MOST);
      const header = Buffer.alloc(4);
      header.writeUIntLE(piece.length, 0, 3);
      header[3] = number++ & 0xff;
      this.write(Buffer.concat([header, piece]));
      if (piece.length < MOST) return number & 0xff;
    }
  }

  write(bytes: Buffer): void {
    if (this.#compression === 'none') this.#socket.write(bytes);
    else for (let at = 0; at < bytes.length; at += MOST) this.#writeFrame(bytes.subarray(at, at + MOST));
  }

  /** page_protocol_connection_phase: after the SSL request, the same socket goes on encrypted. */
  async encrypt(): Promise<void> {
    this.#socket.removeAllListeners();
    const encrypted = tls.connect({ socket: this.#socket, rejectUnauthorized: false });
    this.#socket = encrypted;
    this.#listen();
    await once(encrypted, 'secureConnect');
  }

  compress(kind: 'zlib' | 'zstd'): void {
    this.#compression = kind;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #listen(): void {
    this.#socket.on('data', (chunk: Buffer) => {
      if (this.#compression === 'none') this.#receive(chunk);
      else this.#receiveFrames(chunk);
    });
    this.#socket.on('error', () => undefined);
    this.#socket.once('close', () => {
      const cut = this.#receivedBytes > 0 || this.#pieces.length > 0;
      this.#over = new ConnectionEnd(cut ? 'in the middle of a packet' : 'between packets');
      this.#packets.put(this.#over);
    });
  }

  /** Collects chunks and joins them only when a packet is whole: linear, also for large ones. */
  #receive(chunk: Buffer): void {
    this.#received.push(chunk);
    this.#receivedBytes += chunk.length;
    while (this.#receivedBytes >= this.#wantedBytes) {
      const joined = this.#received.length === 1 ? this.#received[0]! : Buffer.concat(this.#received);
      const length = joined.readUIntLE(0, 3) + 4;
      this.#received = [joined];
      this.#wantedBytes = length;
      if (joined.length < length) return;
      this.#piece(joined[3]!, joined.subarray(4, length));
      const rest = joined.subarray(length);
      this.#received = rest.length > 0 ? [rest] : [];
      this.#receivedBytes = rest.length;
      this.#wantedBytes = 4;
    }
  }

  #piece(sequence: number, payload: Buffer): void {
    if (this.#pieces.length === 0) this.#firstSequence = sequence;
    const expected = (this.#firstSequence + this.#pieces.length) & 0xff;
    if (sequence !== expected) this.faults.push(`piece ${sequence} where ${expected} was due`);
    this.#pieces.push(payload);
    if (payload.length === MOST) return;
    const pieces = this.#pieces;
    this.#pieces = [];
    const whole = pieces.length === 1 ? payload : Buffer.concat(pieces);
    this.#packets.put({ payload: whole, sequence: this.#firstSequence, pieces: pieces.length });
  }

  /** page_protocol_basic_compression_packet */
  #writeFrame(bytes: Buffer): void {
    const small = bytes.length < 50;
    const body = small ? bytes : this.#compression === 'zlib' ? deflateSync(bytes) : zstdCompressSync(bytes);
    const header = Buffer.alloc(7);
    header.writeUIntLE(body.length, 0, 3);
    header[3] = this.#frameSequence++ & 0xff;
    header.writeUIntLE(small ? 0 : bytes.length, 4, 3);
    this.#socket.write(Buffer.concat([header, body]));
  }

  #receiveFrames(chunk: Buffer): void {
    this.#frames = Buffer.concat([this.#frames, chunk]);
    while (this.#frames.length >= 7) {
      const length = this.#frames.readUIntLE(0, 3);
      if (this.#frames.length < 7 + length) return;
      const sequence = this.#frames[3]!;
      const plainLength = this.#frames.readUIntLE(4, 3);
      const body = this.#frames.subarray(7, 7 + length);
      const expected = this.#frameSequence++ & 0xff;
      if (sequence !== expected) this.faults.push(`compressed packet ${sequence} where ${expected} was due`);
      const inflate = this.#compression === 'zlib' ? inflateSync : zstdDecompressSync;
      const plain = plainLength === 0 ? body : inflate(body);
      if (plainLength !== 0 && plain.length !== plainLength) this.faults.push('a lying length');
      this.#frames = this.#frames.subarray(7 + length);
      this.#receive(Buffer.from(plain));
    }
  }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
