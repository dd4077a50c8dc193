/**
 * Question: does a large result flow through, or does it pile up? 500 MB in rows of 1000 bytes are read
 * through each target by a client that does no more than to find the end of the answer. Of dbproxy's
 * processes the growth in memory is taken, while the client reads as fast as it can, and once more while
 * it stops in the middle for a second: then the server has to stop as well.
 */
import { BackendConnection, type ConnectionUser } from '../src/backend/connection.ts';
import { Identity } from '../src/backend/wish.ts';
import { systemClock } from '../src/base/clock.ts';
import { Capability, Collation, Command } from '../src/protocol/constants.ts';
import { writeCommand } from '../src/protocol/packets.ts';
import { NOT_ENDED, ReplyTracker } from '../src/protocol/reply-tracker.ts';
import { peakMegabytes, residentMegabytes, resetPeak } from './processes.ts';
import type { StreamResult, StreamRound } from './report.ts';
import type { Stage } from './stage.ts';

const ROW_BYTES = 1000;
const ROWS = 500_000;
const WARM_UP_ROWS = 10_000;
const PAUSE_MS = 1000;
const ANSWER_TIMEOUT_MS = 60_000;

/** Reads the result through each target, `rounds` times; says what it does by `say`. */
export async function askStream(
  stage: Stage,
  rounds: number,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<StreamResult> {
  const { direct, haproxy, dbproxy } = stage.ports;
  await readResult(dbproxy.write, WARM_UP_ROWS, 0);
  const results: StreamRound[] = [];
  let fastReader = 0;
  for (let round = 1; round <= rounds; round++) {
    signal.throwIfAborted();
    const measured: StreamRound = {
      direct: { megabytesPerSecond: await readResult(direct.write, ROWS, 0) },
      haproxy: { megabytesPerSecond: await readResult(haproxy.write, ROWS, 0) },
      dbproxy: { megabytesPerSecond: 0 },
    };
    const growth = await growthDuring(stage.processes('dbproxy'), async () => {
      measured.dbproxy.megabytesPerSecond = await readResult(dbproxy.write, ROWS, 0);
    });
    fastReader = Math.max(fastReader, growth);
    results.push(measured);
    const rates = Object.entries(measured).map(
      ([target, { megabytesPerSecond }]) => `${target} ${megabytesPerSecond.toFixed(0)}`,
    );
    say(`stream, round ${round}: ${rates.join(', ')} MB/s; dbproxy grew by ${growth.toFixed(1)} MB`);
  }
  signal.throwIfAborted();
  const pausingReader = await growthDuring(stage.processes('dbproxy'), async () => {
    await readResult(dbproxy.write, ROWS, PAUSE_MS);
  });
  say(`stream, reader that pauses: dbproxy grew by ${pausingReader.toFixed(1)} MB`);
  const megabytes = Math.round((ROWS * ROW_BYTES) / 1_000_000);
  return { megabytes, rounds: results, growthMegabytes: { fastReader, pausingReader } };
}

/** By how much that process grew most that grew most, at its peak, while `work` was done. */
async function growthDuring(pids: readonly number[], work: () => Promise<void>): Promise<number> {
  const before = pids.map((pid) => {
    resetPeak(pid);
    return residentMegabytes(pid);
  });
  await work();
  return Math.max(...pids.map((pid, index) => peakMegabytes(pid) - before[index]!));
}

/** Reads a result of `rows` rows; answers MB/s. Stops for `pauseMs` in the middle, if that is not 0. */
async function readResult(port: number, rows: number, pauseMs: number): Promise<number> {
  const connection = await BackendConnection.open(
    `port ${port}`,
    {
      endpoint: { kind: 'tcp', host: '127.0.0.1', port },
      tls: 'off',
      tlsClient: null,
      compression: 'off',
      sendsProxyHeader: false,
    },
    {
      identity: new Identity({
        user: 'app',
        account: '',
        capabilities: Capability.TRANSACTIONS | Capability.DEPRECATE_EOF,
        extendedCapabilities: 0,
        client: { address: '127.0.0.1', port: 0 },
      }),
      secret: { password: 'app' },
      keepsPassword: true,
      preparation: {
        database: 'demo',
        collation: Collation.UTF8MB4_GENERAL_CI,
        readOnly: false,
        attributes: Buffer.alloc(0),
        settingFlags: 0,
      },
    },
    () => undefined,
  );
  const reader = new ResultReader(connection, pauseMs > 0 ? (rows * ROW_BYTES) / 2 : Infinity, pauseMs);
  const timeout = systemClock.after(ANSWER_TIMEOUT_MS, () => connection.close());
  try {
    const startedMs = systemClock.nowMs();
    connection.write(writeCommand(Command.QUERY, `select repeat('x', ${ROW_BYTES}) from seq_1_to_${rows}`));
    await reader.ended;
    const seconds = (systemClock.nowMs() - startedMs) / 1000;
    if (reader.bytes < rows * ROW_BYTES) throw new Error(`the result had ${reader.bytes} bytes only`);
    return reader.bytes / 1_000_000 / seconds;
  } finally {
    timeout.cancel();
    connection.user = null;
    connection.write(writeCommand(Command.QUIT));
    connection.close();
  }
}

/** Takes the bytes of one answer and drops them. */
class ResultReader implements ConnectionUser {
  readonly ended: Promise<void>;
  bytes = 0;
  readonly #connection: BackendConnection;
  readonly #tracker: ReplyTracker;
  readonly #pauseMs: number;
  #pauseAtBytes: number;
  readonly #outcome = Promise.withResolvers<void>();

  constructor(connection: BackendConnection, pauseAtBytes: number, pauseMs: number) {
    this.#connection = connection;
    this.#pauseAtBytes = pauseAtBytes;
    this.#pauseMs = pauseMs;
    this.#tracker = new ReplyTracker(connection.capabilities);
    this.#tracker.begin(Command.QUERY);
    this.ended = this.#outcome.promise;
    connection.user = this;
  }

  onBackendData(length: number): void {
    this.bytes += length;
    const ended = this.#tracker.feed(this.#connection.input, 0, length) !== NOT_ENDED;
    if (ended && this.#tracker.errno !== 0)
      this.#outcome.reject(new Error(`the server answered with error ${this.#tracker.errno}`));
    else if (ended) this.#outcome.resolve();
    else if (this.bytes >= this.#pauseAtBytes) this.#pause();
  }

  onBackendDrain(): void {
    // The one command is short.
  }

  onBackendClose(reason: string): void {
    this.#outcome.reject(new Error(`the result was cut after ${this.bytes} bytes: ${reason}`));
  }

  #pause(): void {
    this.#pauseAtBytes = Infinity;
    this.#connection.pause();
    systemClock.after(this.#pauseMs, () => this.#connection.resume());
  }
}
