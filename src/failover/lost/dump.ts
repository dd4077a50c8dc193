/**
 * A binlog over a replication connection, event by event, up to its end. The server is asked like a replica asks
 * it; the account needs REPLICATION SLAVE. Events may be larger than a packet of the protocol: their parts are put
 * together, up to a bound.
 */
import type { Clock } from '../../base/clock.ts';
import { refusal } from '../../base/errors.ts';
import { DUMP_SETTINGS, dumpCommand, type DumpStart } from '../../binlog/dump-request.ts';
import { BackendConnection } from '../../backend/connection.ts';
import { channelOf } from '../../backend/channel.ts';
import { Identity } from '../../backend/wish.ts';
import type { BackendConfig } from '../../config/config.ts';
import { Capability, Collation, HEADER_BYTES, MAX_PACKET_PAYLOAD } from '../../protocol/constants.ts';
import { parseError, ServerError, writePayload } from '../../protocol/packets.ts';

/** Whose binlog, and as whom it is read. */
export interface BinlogSource {
  readonly backend: Pick<
    BackendConfig,
    'name' | 'address' | 'tls' | 'tlsCa' | 'tlsCert' | 'tlsKey' | 'proxyProtocol'
  >;
  readonly account: { readonly user: string; readonly password: string };
}

/** How long reading may take. */
export interface DumpBounds {
  readonly clock: Clock;
  readonly timeoutMs: number;
}

/** Larger events are refused: nobody's memory is theirs. Servers send up to 1 GB. */
const MOST_EVENT_BYTES = 256 * 1024 * 1024;

const EOF_PACKET = 0xfe;
const ERROR_PACKET = 0xff;
const MOST_EOF_BYTES = 9;

/** What reading begins with. */
export interface DumpOpening {
  readonly hasChecksums: boolean;
}

/**
 * Reads from `start` to the end of the log, or until `onEvent` has enough. `onEvent` gets each event with its header
 * and must not keep the reader waiting. Rejects with what the server, the network or `onEvent` says.
 */
export async function readBinlog(
  source: BinlogSource,
  start: DumpStart,
  { clock, timeoutMs }: DumpBounds,
  onOpen: (opening: DumpOpening) => (event: Buffer) => 'more' | 'enough',
): Promise<void> {
  let abort: (reason: string) => void = () => undefined;
  const timer = clock.after(timeoutMs, () =>
    abort(`the binlog was not read within ${Math.round(timeoutMs)} ms`),
  );
  let connection: BackendConnection | undefined;
  try {
    connection = await open(source, (giveUp) => (abort = giveUp));
    for (const setting of DUMP_SETTINGS) await connection.execute(setting);
    const checksum = await connection.queryValue('SELECT @@global.binlog_checksum');
    const onEvent = onOpen({ hasChecksums: checksum !== null && checksum.toUpperCase() !== 'NONE' });
    await stream(connection, dumpCommand(start), onEvent, (giveUp) => (abort = giveUp));
  } finally {
    timer.cancel();
    connection?.close();
  }
}

function open(
  { backend, account }: BinlogSource,
  onSocket: (abort: (reason: string) => void) => void,
): Promise<BackendConnection> {
  const identity = new Identity({
    user: account.user,
    account: account.user,
    capabilities: Capability.PROTOCOL_41 | Capability.TRANSACTIONS | Capability.SECURE_CONNECTION,
    extendedCapabilities: 0,
    client: { address: 'localhost', port: 0 },
  });
  const preparation = {
    database: '',
    collation: Collation.UTF8MB4_GENERAL_CI,
    readOnly: false,
    attributes: Buffer.alloc(0),
    settingFlags: 0,
  };
  const channel = { endpoint: backend.address, ...channelOf({ ...backend, compression: 'off' }) };
  const secret = { password: account.password };
  return BackendConnection.open(
    backend.name,
    channel,
    { identity, secret, keepsPassword: false, preparation },
    onSocket,
  );
}

function stream(
  connection: BackendConnection,
  command: Buffer,
  onEvent: (event: Buffer) => 'more' | 'enough',
  onAbort: (abort: (reason: string) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (error: Error | null): void => {
      connection.user = null;
      connection.close();
      if (error === null) resolve();
      else reject(error);
    };
    const fail = (reason: string): void =>
      end(refusal('DBPROXY_BACKEND_CONNECT', connection.backend, 'connection', reason));
    onAbort(fail);
    const packets = new PacketChain();
    connection.user = {
      onBackendData(length) {
        try {
          for (const payload of packets.push(connection.input.subarray(0, length))) {
            const outcome = outcomeOf(payload, onEvent);
            if (outcome === 'more') continue;
            return end(outcome === 'enough' ? null : outcome);
          }
        } catch (error) {
          end(error instanceof Error ? error : new Error(String(error)));
        }
      },
      onBackendDrain: () => undefined,
      onBackendClose: fail,
    };
    connection.write(writePayload(0, command));
  });
}

/** A packet is an event behind a 0, the end, or an error. */
function outcomeOf(
  payload: Buffer,
  onEvent: (event: Buffer) => 'more' | 'enough',
): 'more' | 'enough' | Error {
  switch (payload[0] ?? -1) {
    case 0:
      return onEvent(payload.subarray(1));
    case EOF_PACKET:
      if (payload.length <= MOST_EOF_BYTES) return 'enough';
      return new Error(`a packet of ${payload.length} bytes where the end was expected`);
    case ERROR_PACKET:
      return new ServerError(parseError(payload));
    default:
      return new Error(`packet 0x${(payload[0] ?? 0).toString(16)} where an event was expected`);
  }
}

/**
 * Packets from a stream of chunks; those of full length go on in the next one (page_protocol_basic_packets). What
 * it gives has memory of its own.
 */
export class PacketChain {
  /** Chunks not used up yet, and how many bytes they have. */
  #chunks: Buffer[] = [];
  #length = 0;
  #parts: Buffer[] = [];
  #partBytes = 0;

  *push(chunk: Buffer): Generator<Buffer> {
    this.#chunks.push(Buffer.from(chunk));
    this.#length += chunk.length;
    for (;;) {
      if (this.#length < HEADER_BYTES) return;
      const header = this.#peek();
      const bytes = header.readUIntLE(0, 3);
      if (this.#partBytes + bytes > MOST_EVENT_BYTES) {
        throw new Error(`an event of more than ${MOST_EVENT_BYTES} bytes, which is not read`);
      }
      if (this.#length < HEADER_BYTES + bytes) return;
      this.#parts.push(this.#take(HEADER_BYTES + bytes).subarray(HEADER_BYTES));
      this.#partBytes += bytes;
      if (bytes === MAX_PACKET_PAYLOAD) continue;
      const payload = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
      this.#parts = [];
      this.#partBytes = 0;
      yield payload;
    }
  }

  #peek(): Buffer {
    const [first] = this.#chunks;
    if (first!.length >= HEADER_BYTES) return first!;
    this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }

  #take(count: number): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#chunks = all.length === count ? [] : [all.subarray(count)];
    this.#length -= count;
    return all.subarray(0, count);
  }
}
