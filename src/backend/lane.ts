/**
 * A lane: one server connection on which short reads of several sessions travel back to back. The server
 * answers in the order in which it was asked, so each chunk of its bytes is cut where one answer ends and the
 * next begins, by the reply tracker of whom the answer is for. What several sessions ask in one round of the
 * event loop goes out in one write; and what they ask while the server is at work waits until half of what it had
 * has been answered, for it could not begin with it any sooner: so one write here, and one read there, carries more.
 *
 * Only statements ride that depend on nothing but the settings of the connection, and that have proved
 * fast. A slow one closes the lane: nobody new gets in until it is empty.
 */
import { afterThisRound, type Clock, type Timer } from '../base/clock.ts';
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

/** How long a client may keep the others on its lane waiting. */
const SLOW_CLIENT_MS = 100;

/** A statement that takes so many times longer than a fast one keeps others waiting. */
const SLOW_FACTOR = 10;

export class Lane implements ConnectionUser {
  readonly connection: BackendConnection;
  readonly #onEmpty: (lane: Lane) => void;
  readonly #onRoom: () => void;
  readonly #clock: Clock;
  readonly #rides: Ride[] = [];
  #reserved = 0;
  #output: Buffer = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
  #outputLength = 0;
  /** Statements that lie in it. */
  #unsent = 0;
  /** How many the server had on its hands when it was sent the last ones. */
  #sentAtOnce = 0;
  /** Since when the server has been at work on the first ride, in idle time: a busy process of ours is not its fault. */
  #headSinceIdleMs = 0;
  #isScheduled = false;
  #isBlocked = false;
  #waitsForClient = false;
  #patience: Timer | null = null;

  /**
   * `onEmpty` is called whenever the last answer has ended: the lane is over, or begins anew with a rider; `onRoom`
   * after every answer, for those who wait for a place.
   */
  constructor(
    connection: BackendConnection,
    clock: Clock,
    onEmpty: (lane: Lane) => void,
    onRoom: () => void,
  ) {
    this.connection = connection;
    this.#clock = clock;
    this.#onRoom = onRoom;
    this.#onEmpty = onEmpty;
  }

  /** Statements on their way, and places that are kept for some. */
  get depth(): number {
    return this.#rides.length + this.#reserved;
  }

  /** Somebody more may ride: not too many do, and none of them is slow. */
  admits(mostRiders: number, fastMs: number): boolean {
    if (this.#isBlocked || this.#waitsForClient || this.depth >= mostRiders) return false;
    return this.#rides.length === 0 || this.#clock.idleMs() - this.#headSinceIdleMs < SLOW_FACTOR * fastMs;
  }

  /** Keeps a place: `ride` takes it, or `cancel` gives it back. */
  reserve(): this {
    this.#reserved++;
    return this;
  }

  /** Sends the command that is `bytes[start, end)`, its header with it, for a rider whose tracker has begun. */
  ride(rider: Rider, bytes: Buffer, start: number, end: number): void {
    this.#reserved--;
    // It went while its place was kept.
    if (this.connection.closed) {
      this.#endIfEmpty();
      return rider.onLaneLost('the server closed the connection');
    }
    this.connection.user = this;
    this.connection.takenBy(this);
    if (this.#rides.length === 0) this.#headSinceIdleMs = this.#clock.idleMs();
    this.#rides.push({ tracker: rider.tracker, rider });
    const length = end - start;
    if (this.#outputLength + length > OUTPUT_BYTES) this.#flush();
    if (length > OUTPUT_BYTES) {
      this.#write(Buffer.from(bytes.subarray(start, end)));
      return;
    }
    bytes.copy(this.#output, this.#outputLength, start, end);
    this.#outputLength += length;
    this.#unsent++;
    this.#flushWhenServerIsFree();
  }

  /** A place that was kept is not needed after all. */
  cancel(): void {
    this.#reserved--;
    this.#endIfEmpty();
  }

  /** The rider's session is over: its answer is for nobody. */
  leave(rider: Rider): void {
    for (const ride of this.#rides) if (ride.rider === rider) ride.rider = null;
  }

  /** A client that was slow has taken its answer. */
  clientReady(): void {
    if (!this.#waitsForClient) return;
    this.#waitsForClient = false;
    this.#patience?.cancel();
    this.connection.resume();
  }

  onBackendData(length: number): void {
    const { input } = this.connection;
    let offset = 0;
    while (offset < length) {
      const ride = this.#rides[0];
      // Bytes that nobody asked for: the server's goodbye.
      if (ride === undefined || this.#rides.length <= this.#unsent) return this.connection.close();
      const ended = ride.tracker.feed(input, offset, length);
      const end = ended === NOT_ENDED ? length : ended;
      if (ended !== NOT_ENDED) this.#rides.shift();
      this.#hand(ride, input.subarray(offset, end), ended !== NOT_ENDED);
      offset = end;
    }
    if (this.#unsent > 0) this.#flushWhenServerIsFree();
    this.#onRoom();
    if (this.#rides.length === 0) this.#endIfEmpty();
    else this.#headSinceIdleMs = this.#clock.idleMs();
  }

  onBackendDrain(): void {
    this.#isBlocked = false;
  }

  onBackendClose(reason: string): void {
    const rides = this.#rides.splice(0);
    this.#outputLength = 0;
    this.#unsent = 0;
    this.#patience?.cancel();
    this.#endIfEmpty();
    for (const { rider } of rides) rider?.onLaneLost(reason);
  }

  #endIfEmpty(): void {
    if (this.depth === 0) this.#onEmpty(this);
  }

  #hand(ride: Ride, bytes: Buffer, ended: boolean): void {
    if (ride.rider === null || ride.rider.onLaneBytes(bytes, ended) || ended) return;
    // What the client has not taken is a copy; that there is not more of it, the server must wait for.
    this.#waitsForClient = true;
    this.connection.pause();
    // The others wait with it: not for long. Those who have seen nothing ask again elsewhere.
    this.#patience = this.#clock.after(SLOW_CLIENT_MS, () => this.connection.close());
  }

  #flushWhenServerIsFree(): void {
    if (this.#isScheduled || 2 * (this.#rides.length - this.#unsent) > this.#sentAtOnce) return;
    this.#isScheduled = true;
    afterThisRound(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#outputLength === 0 || this.connection.closed) return;
    const bytes = this.#output.subarray(0, this.#outputLength);
    this.#outputLength = 0;
    this.#unsent = 0;
    this.#sentAtOnce = this.#rides.length;
    this.#write(bytes);
  }

  #write(bytes: Buffer): void {
    if (this.connection.write(bytes)) return;
    // The memory is the kernel's until it has taken all.
    this.#isBlocked = true;
    this.#output = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
  }
}
