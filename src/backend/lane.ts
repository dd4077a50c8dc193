/**
 * A lane: one server connection on which short reads of several sessions travel back to back. The server
 * answers in the order in which it was asked, so each chunk of its bytes is cut where one answer ends and the
 * next begins, by the reply tracker of whom the answer is for. What several sessions ask in one round of the
 * event loop goes out in one write.
 *
 * Only statements ride that depend on nothing but the settings of the connection, and that have proved
 * fast. A slow one closes the lane: nobody new gets in until it is empty.
 */
import { afterThisRound, type Clock } from '../base/clock.ts';
import { NOT_ENDED, type ReplyTracker } from '../protocol/reply-tracker.ts';
import type { BackendConnection, ConnectionUser } from './connection.ts';

/** Who has a statement on the lane. */
export interface Rider {
  /** Follows its answer. */
  readonly tracker: ReplyTracker;
  /**
   * Bytes of its answer; they are its own only until it returns. `ended`: they are the last ones. False: the
   * client is slow to take what it has got already.
   */
  onLaneBytes(bytes: Buffer, ended: boolean): boolean;
  /** The connection is gone; the answer has not ended. */
  onLaneLost(reason: string): void;
}

interface Ride {
  readonly tracker: ReplyTracker;
  /** Null when its session is over: the answer still comes, and nobody wants it. */
  rider: Rider | null;
}

/** What goes out in one write at most; more than that goes in several. */
const OUTPUT_BYTES = 16 * 1024;

/** A statement that takes so many times longer than a fast one keeps others waiting. */
const SLOW_FACTOR = 10;

export class Lane implements ConnectionUser {
  readonly connection: BackendConnection;
  readonly #onEmpty: (lane: Lane) => void;
  readonly #clock: Clock;
  readonly #rides: Ride[] = [];
  #output: Buffer = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
  #outputLength = 0;
  /** Since when the server has been at work on the first ride. */
  #headSinceMs = 0;
  #isScheduled = false;
  #isBlocked = false;
  #waitsForClient = false;

  /** `onEmpty` is called whenever the last answer has ended: the lane is over, or begins anew with a rider. */
  constructor(connection: BackendConnection, clock: Clock, onEmpty: (lane: Lane) => void) {
    this.connection = connection;
    this.#clock = clock;
    this.#onEmpty = onEmpty;
  }

  /** Statements on their way. */
  get depth(): number {
    return this.#rides.length;
  }

  /** Somebody more may ride: not too many do, and none of them is slow. */
  admits(mostRiders: number, fastMs: number, nowMs: number): boolean {
    if (this.#isBlocked || this.#waitsForClient || this.#rides.length >= mostRiders) return false;
    return this.#rides.length === 0 || nowMs - this.#headSinceMs < SLOW_FACTOR * fastMs;
  }

  /** Sends the command that is `bytes[start, end)`, its header with it, for a rider whose tracker has begun. */
  ride(rider: Rider, bytes: Buffer, start: number, end: number, nowMs: number): void {
    this.connection.user = this;
    this.connection.lastUser = this;
    if (this.#rides.length === 0) this.#headSinceMs = nowMs;
    this.#rides.push({ tracker: rider.tracker, rider });
    const length = end - start;
    if (this.#outputLength + length > OUTPUT_BYTES) this.#flush();
    if (length > OUTPUT_BYTES) {
      this.#write(Buffer.from(bytes.subarray(start, end)));
      return;
    }
    bytes.copy(this.#output, this.#outputLength, start, end);
    this.#outputLength += length;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    afterThisRound(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  /** Nobody rides after all. */
  cancel(): void {
    this.#onEmpty(this);
  }

  /** The rider's session is over: its answer is for nobody. */
  leave(rider: Rider): void {
    for (const ride of this.#rides) if (ride.rider === rider) ride.rider = null;
  }

  /** A client that was slow has taken its answer. */
  clientReady(): void {
    if (!this.#waitsForClient) return;
    this.#waitsForClient = false;
    this.connection.resume();
  }

  onBackendData(length: number): void {
    const { input } = this.connection;
    let offset = 0;
    while (offset < length) {
      const ride = this.#rides[0];
      // Bytes that nobody asked for.
      if (ride === undefined) return this.connection.close();
      const ended = ride.tracker.feed(input, offset, length);
      const end = ended === NOT_ENDED ? length : ended;
      if (ended !== NOT_ENDED) this.#rides.shift();
      this.#hand(ride, input.subarray(offset, end), ended !== NOT_ENDED);
      offset = end;
    }
    if (this.#rides.length === 0) this.#onEmpty(this);
    else this.#headSinceMs = this.#clock.nowMs();
  }

  onBackendDrain(): void {
    this.#isBlocked = false;
    this.#flush();
  }

  onBackendClose(reason: string): void {
    const rides = this.#rides.splice(0);
    this.#outputLength = 0;
    this.#onEmpty(this);
    for (const { rider } of rides) rider?.onLaneLost(reason);
  }

  #hand(ride: Ride, bytes: Buffer, ended: boolean): void {
    if (ride.rider === null || ride.rider.onLaneBytes(bytes, ended)) return;
    // What the client has not taken is a copy; that there is not more of it, the server must wait for.
    this.#waitsForClient = true;
    this.connection.pause();
  }

  #flush(): void {
    if (this.#outputLength === 0 || this.#isBlocked || this.connection.closed) return;
    const bytes = this.#output.subarray(0, this.#outputLength);
    this.#outputLength = 0;
    this.#write(bytes);
  }

  #write(bytes: Buffer): void {
    if (this.connection.write(bytes)) return;
    // The memory is the kernel's until it has taken all.
    this.#isBlocked = true;
    this.#output = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
  }
}
