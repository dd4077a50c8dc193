/**
 * This dbproxy as one of a pair: tells the other what it knows, every half second and at once when there is news, takes
 * what the other knows better (`merge.ts`), and says who may act (`right.ts`). What is asked and what is answered are the
 * same message, so one exchange makes both equal.
 */
import type { Clock, Timer } from '../base/clock.ts';
import { isRefusal, refusal } from '../base/errors.ts';
import { ToldReasons } from '../base/told-reasons.ts';
import { differingParts } from '../config/shared-part.ts';
import type { PeerReport } from '../ipc/operations.ts';
import { leaseLeftMs } from '../monitor/lease.ts';
import { isDenied } from '../monitor/observation.ts';
import type { PairRight } from '../topology/charge.ts';
import type { DurableState } from '../topology/state-file.ts';
import type { Sharing, TopologyStore } from '../topology/store.ts';
import { compareDocuments, droppedWords, stampWords } from './merge.ts';
import { formatMessage, LOOK, parseMessage, type PeerMessage } from './message.ts';
import type { PeerLink } from './link.ts';
import { rightOf, type Sight } from './right.ts';
import { troubleWords } from './trouble.ts';

export interface PeerOptions {
  /** Names this process: another one after each start, and none of the other host has it. */
  readonly process: string;
  readonly clock: Clock;
  readonly link: PeerLink;
  /** Without an answer for so long the other is gone. */
  readonly timeoutMs: number;
  readonly store: Pick<TopologyStore, 'latest' | 'isAlone' | 'beginTerm' | 'endTerm' | 'adopt'>;
  /** This host has the write VIP now. */
  readonly holdsVip: () => boolean;
  /** Clusters in which a promotion runs here. */
  readonly busy: () => readonly string[];
  /** Something else that has begun here at servers has not ended yet. */
  readonly isActing: () => boolean;
  /** The arbiters that vote are for this one, of each cluster that has one; null: no cluster has. */
  readonly hasVotes: () => boolean | null;
  /** What both should have in their files; see `config/shared-part.ts`. */
  readonly config: string;
  /** Of the program. */
  readonly version: string;
  /** What the other has decided counts here now. */
  readonly onAdopted: () => Promise<void>;
  /** The right is another one. */
  readonly onRight: () => void;
  /** A line for the log and for SHOW EVENTS. */
  readonly tell: (level: 'info' | 'warn' | 'error', event: string, detail: string) => void;
}

/** So often is looked who holds the VIP, and whether there is news. */
const LOOK_EVERY_MS = 100;
const TELL_EVERY_MS = 500;
/** However short peer_timeout is: half of it without an answer is silence, and three questions fit into that. */
const TELLS_IN_TIMEOUT = 6;

export class Peer implements Sharing {
  readonly #options: PeerOptions;
  #ticker: Timer | null = null;
  #closed = false;
  /** What the other has said last, in an exchange of either direction. */
  #other: PeerMessage | null = null;
  /** So much was said by this one. */
  #said = 0;
  /** Its clock, when it was heard last. */
  #clockAheadMs: number | null = null;
  /** When it was heard last; null: never since the start. */
  #heardMs: number | null = null;
  /** When the last question was asked that it has answered. */
  #askedMs = -Infinity;
  /** It has something better than we have, which is being written down here. */
  #adopting = 0;
  /** Its port was closed when it was asked, and it has not been heard since then. */
  #isRefused = false;
  /** It has not answered since its port was closed, or since it did not let this one in. */
  #isTurnedAway = false;
  /** Why it did not let this one in when it was asked last; empty: it was something else. */
  #denial = '';
  /** What kept it from answering the last question; empty: it did answer. */
  #trouble = '';
  #isGoneByWord = false;
  /** It has said that it is being stopped, and nothing since. */
  #hasLeft = false;
  /** Its process before this one; what that had to say has come late. */
  #before: string | null = null;
  /** This one is being stopped; and has told the other that it does nothing more. */
  #leaves = false;
  #saidLeaves = false;
  /** When this process last looked, and since when it does so again after it stood still. */
  #lookedMs: number;
  #awakeMs = -Infinity;
  #holds: boolean;
  /** Since when the VIP is here, or is not. */
  #holdsSinceMs: number;
  #exchange: Promise<PeerMessage | null> | null = null;
  #nextMs = 0;
  /** What was told last: of the other, of its configuration, of what hinders. */
  #toldSight: Sight['kind'] | null = null;
  #toldConfig = '';
  #toldUnsaved: string | null = null;
  readonly #toldTroubles = new ToldReasons();
  #toldRight = '';
  #toldNews = '';

  constructor(options: PeerOptions) {
    this.#options = options;
    this.#holds = options.holdsVip();
    this.#holdsSinceMs = options.clock.nowMs();
    this.#lookedMs = options.clock.nowMs();
  }

  start(): void {
    this.#ticker = this.#options.clock.every(LOOK_EVERY_MS, () => this.#look());
    this.#look();
  }

  close(): void {
    this.#closed = true;
    this.#ticker?.cancel();
    this.#options.link.close();
  }

  /** See `PeerOptions`. */
  get process(): string {
    return this.#options.process;
  }

  // ---- what is known -------------------------------------------------------------------------------

  /** The right of now. */
  get right(): PairRight {
    const right = rightOf(this.sight, this.#holds, this.#options.link.address);
    if (!this.#leaves) return right;
    return { ...right, mayAct: false, mayActByVote: false, claims: false, mayGoAlone: false };
  }

  /** The write VIP is on this host. */
  get holds(): boolean {
    return this.#holds;
  }

  get sight(): Sight {
    const { clock, timeoutMs, store } = this.#options;
    const nowMs = clock.nowMs();
    const denial = this.#denial;
    const gone = { kind: 'gone', hasLeft: this.#hasLeft, hasTerm: store.isAlone } as const;
    if (this.#isGoneByWord) return { ...gone, byWord: true };
    if (this.#heardMs === null || this.#other === null) return { kind: 'unheard', trouble: this.#trouble };
    // Who does not hold the VIP stops sooner than the other can take it for gone.
    const isRecent = nowMs - this.#askedMs <= timeoutMs / 2 && this.#askedMs >= this.#awakeMs;
    if (isRecent && !this.#isTurnedAway) {
      const { holds, busy, isActing } = this.#other;
      return {
        kind: 'connected',
        holds,
        busy,
        isActing,
        knowsWeHold: this.#askedMs >= this.#holdsSinceMs && this.#adopting === 0,
      };
    }
    const stoodStill = this.#standsStill || this.#askedMs < this.#awakeMs;
    const isLongSilent = nowMs - Math.max(this.#heardMs, this.#awakeMs) > timeoutMs;
    const isOver = this.#isRefused || this.#hasLeft || isLongSilent;
    if (isOver && !this.#standsStill) return { ...gone, byWord: false, denial };
    return { kind: 'silent', stoodStill, denial };
  }

  /** It has not come to look for so long that the other may have taken it for gone, and gone on. */
  get #standsStill(): boolean {
    const { clock, timeoutMs } = this.#options;
    return clock.nowMs() - this.#lookedMs > timeoutMs / 2;
  }

  /** Both of the two, for SHOW PEER; `address` of this one, and whether it acts. */
  report(address: string, inCharge: boolean): PeerReport[] {
    const { clock, link } = this.#options;
    const { right, sight } = this;
    const own = this.#message();
    const other = this.#other;
    const [isHere, trouble] = [sight.kind === 'connected', this.#trouble];
    const differing = other === null ? [] : differingParts(own.config, other.config);
    const differs = differing.length === 0 ? '' : `its configuration differs: ${differing.join(', ')}`;
    return [
      {
        ...rowOf(own),
        which: 'this',
        address,
        state: 'running',
        inCharge,
        heardMs: null,
        clockAheadMs: null,
        reason: right.charge?.detail ?? '',
      },
      {
        ...rowOf(other),
        which: 'other',
        address: link.address,
        state: sight.kind,
        inCharge: isHere ? right.holder !== null : null,
        heardMs: this.#heardMs === null ? null : Math.round(clock.nowMs() - this.#heardMs),
        clockAheadMs: this.#clockAheadMs,
        reason: isHere ? differs : trouble,
      },
    ];
  }

  get #isGone(): boolean {
    return this.sight.kind === 'gone';
  }

  /** Of two that have lost each other it is this one that goes on, as far as an arbiter has a say in that. */
  get #mayGoOn(): boolean {
    return this.#options.hasVotes() !== false;
  }

  /** Why an operator's statement is not carried out here; throws it. */
  requireCharge(settles = false): void {
    const { mayAct, mayActByVote, mayFinish, charge } = this.right;
    const { busy, hasVotes } = this.#options;
    if (this.#leaves && this.#isIdle)
      throw refusal('DBPROXY_NOT_IN_CHARGE', 'this dbproxy is being stopped, and does nothing more');
    if (mayAct || (mayActByVote && hasVotes() === true)) return;
    if (mayFinish && (settles || busy().length > 0)) return;
    throw refusal(
      'DBPROXY_NOT_IN_CHARGE',
      charge?.detail ?? 'the other dbproxy has not said yet that it leaves that to this one; try again',
    );
  }

  compare(one: DurableState, other: DurableState): number {
    return compareDocuments(one, other);
  }

  /** The word of an operator; it holds until the other is heard. */
  async setGone(): Promise<void> {
    if (this.sight.kind === 'connected') {
      throw refusal('DBPROXY_NOT_IN_CHARGE', 'the other dbproxy is there and answers, so it is not gone');
    }
    this.#isGoneByWord = true;
    this.#options.tell('warn', 'peer.gone_by_word', 'an operator says that the other dbproxy is gone');
    if (this.#holds && this.#mayGoOn) await this.#options.store.beginTerm();
    this.#look();
  }

  // ---- what is said --------------------------------------------------------------------------------

  /**
   * Tells the other that this one is being stopped and does nothing more, once what has begun has ended: it need not be
   * taken for cut off. Resolves when that was told, or the other is gone, or cannot be told in time.
   */
  async leave(): Promise<void> {
    this.#leaves = true;
    if (this.#other !== null) await this.#untilToldOrGone(() => this.#saidLeaves);
  }

  get #isIdle(): boolean {
    const { busy, isActing } = this.#options;
    return busy().length === 0 && !isActing();
  }

  /** What the other says; answers what this one has to say then. */
  async receive(text: string): Promise<string> {
    if (text.trim() === LOOK) return formatMessage(this.#message());
    const message = parseMessage(text);
    if (message.process === this.process)
      throw refusal('DBPROXY_ADMIN_BAD_VALUE', 'PEER', 'process', 'this is the same dbproxy');
    // The VIP has left before it comes to the other, who asks at once.
    this.#noteVip();
    await this.#take(message);
    return formatMessage(this.#message());
  }

  /** Has the other write it down; see `Sharing`. */
  async share(durable: DurableState): Promise<'held' | 'alone'> {
    const outcome = await this.#untilToldOrGone(({ state }) => {
      const difference = compareDocuments(durable, state);
      if (difference < 0)
        throw refusal('DBPROXY_NOT_IN_CHARGE', 'the other dbproxy has decided something else meanwhile');
      return difference === 0;
    });
    if (outcome === 'neither')
      throw refusal('DBPROXY_NOT_IN_CHARGE', 'the other dbproxy could not be told, and is not gone either');
    return outcome === 'gone' ? this.#alone() : 'held';
  }

  /** See `PairShare`. Who has the VIP and goes on without the other has nobody beside it that could take over. */
  async confirm(): Promise<number> {
    const { clock, store, timeoutMs } = this.#options;
    const outcome = await this.#untilToldOrGone(() => true);
    if (outcome === 'told') return leaseLeftMs({ ttlMs: timeoutMs, askedMs: this.#askedMs }, clock.nowMs());
    return outcome === 'gone' && this.#holds && store.isAlone ? Infinity : 0;
  }

  /** Asks until an answer is `enough`, or the other is gone; neither comes true of one that is cut off at times. */
  async #untilToldOrGone(enough: (answer: PeerMessage) => boolean): Promise<'told' | 'gone' | 'neither'> {
    const { clock, timeoutMs } = this.#options;
    // It is gone after that, or it can be told and was.
    const endMs = clock.nowMs() + timeoutMs + TELL_EVERY_MS;
    for (;;) {
      if (this.#isGone) return 'gone';
      // One that began before did not have this to say.
      if (this.#exchange !== null) await this.#exchange;
      const answer = await this.#ask();
      if (answer !== null && enough(answer)) return 'told';
      if (this.#isGone) return 'gone';
      if (clock.nowMs() >= endMs || this.#closed) return 'neither';
      await new Promise<void>((resolve) => void clock.after(LOOK_EVERY_MS, resolve));
    }
  }

  /** Who has lost the VIP in the middle of a promotion, and the other too, is not the one that goes on. */
  #alone(): 'alone' {
    if (this.#holds) return 'alone';
    throw refusal(
      'DBPROXY_NOT_IN_CHARGE',
      'the write VIP is not here any more, and the other is not reached',
    );
  }

  #message(): PeerMessage {
    const { busy, clock, isActing, config, store, version } = this.#options;
    this.#saidLeaves = this.#leaves && this.#isIdle;
    return {
      process: this.process,
      order: ++this.#said,
      holds: this.#holds,
      busy: busy(),
      isActing: isActing(),
      leaves: this.#saidLeaves,
      config,
      version,
      wallMs: clock.wallMs(),
      state: store.latest,
    };
  }

  #look(): void {
    if (this.#closed) return;
    const { clock } = this.#options;
    if (this.#standsStill) this.#wakeUp();
    this.#lookedMs = clock.nowMs();
    this.#noteVip();
    const news = this.#news();
    if (this.#exchange === null && (news !== this.#toldNews || clock.nowMs() >= this.#nextMs)) {
      this.#toldNews = news;
      void this.#ask();
    }
    this.#judge();
  }

  #noteVip(): void {
    const { clock, holdsVip, tell } = this.#options;
    const holds = holdsVip();
    if (holds === this.#holds) return;
    this.#holds = holds;
    this.#holdsSinceMs = clock.nowMs();
    tell('info', holds ? 'peer.vip_came' : 'peer.vip_left', `the write VIP is ${holds ? '' : 'not '}here`);
  }

  /** Nothing is known of the other any more, until it answers, or has not answered for peer_timeout from now on. */
  #wakeUp(): void {
    const { clock } = this.#options;
    this.#awakeMs = clock.nowMs();
    this.#isRefused = false;
    this.#hasLeft = false;
    this.#nextMs = this.#awakeMs;
  }

  /** What the other is told at once when it changes. */
  #news(): string {
    const { busy, isActing, store } = this.#options;
    // With the VIP chores come and go, and nobody waits for their end.
    const acts = !this.#holds && isActing();
    return `${this.#holds} ${busy().join()} ${acts} ${this.#leaves} ${stampWords(store.latest)}`;
  }

  /** One exchange; null: there was no answer. Several who ask meanwhile get the same one. */
  #ask(): Promise<PeerMessage | null> {
    this.#exchange ??= this.#exchangeOnce().finally(() => {
      this.#exchange = null;
    });
    return this.#exchange;
  }

  async #exchangeOnce(): Promise<PeerMessage | null> {
    const { clock, link, timeoutMs } = this.#options;
    const askedMs = clock.nowMs();
    this.#nextMs = askedMs + Math.min(TELL_EVERY_MS, timeoutMs / TELLS_IN_TIMEOUT);
    try {
      const answer = parseMessage(await link.ask(formatMessage(this.#message()), timeoutMs / 2));
      if (answer.process === this.process)
        throw refusal('DBPROXY_ADMIN_BAD_VALUE', 'PEER', 'address', 'it is the own address of this dbproxy');
      this.#askedMs = askedMs;
      this.#isTurnedAway = false;
      this.#denial = '';
      this.#trouble = '';
      this.#toldTroubles.forget();
      // A change that waits for this answer cannot wait for what comes after it.
      void this.#take(answer);
      return answer;
    } catch (error) {
      this.#noteTrouble(error);
      return null;
    } finally {
      this.#judge();
    }
  }

  #noteTrouble(error: unknown): void {
    const { link, tell } = this.#options;
    const isClosed = error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED';
    this.#isRefused ||= isClosed;
    this.#isTurnedAway ||= isClosed || isDenied(error);
    this.#trouble = troubleWords(error);
    this.#denial = isDenied(error) ? this.#trouble : '';
    if (!this.#toldTroubles.isNews(this.#trouble)) return;
    const level = isRefusal(error) || this.#heardMs === null ? 'warn' : 'info';
    tell(level, 'peer.not_answered', `${link.address} did not answer: ${this.#trouble}`);
  }

  /** Learns what the other says; resolves when what it knows better counts here. */
  async #take(message: PeerMessage): Promise<void> {
    const { store, tell, onAdopted, clock, config } = this.#options;
    if (this.#isOvertaken(message)) return;
    if (this.#other !== null && this.#other.process !== message.process) this.#before = this.#other.process;
    this.#other = message;
    this.#hasLeft = message.leaves;
    this.#isRefused = false;
    this.#clockAheadMs = message.wallMs === null ? null : Math.round(message.wallMs - clock.wallMs());
    if (this.#heardMs !== null) this.#heardMs = clock.nowMs();
    if (compareDocuments(store.latest, message.state) < 0) {
      this.#adopting++;
      const adopted = await store.adopt(message.state).finally(() => this.#adopting--);
      if (adopted !== null) {
        this.#tellUnsaved(adopted.unsaved);
        this.#tellAdopted(adopted.ours, message.state);
        await onAdopted();
      }
    }
    if (compareDocuments(store.latest, message.state) === 0) store.endTerm();
    this.#heardMs = clock.nowMs();
    this.#isGoneByWord = false;
    const differing = differingParts(config, message.config).join(', ');
    if (differing !== '' && this.#toldConfig !== message.config)
      tell(
        'warn',
        'peer.config_differs',
        `the configuration files of the two dbproxies differ: ${differing}`,
      );
    this.#toldConfig = message.config;
    this.#judge();
  }

  /** What the other has decided since is told where it is a promotion, or gives up what was decided here. */
  #tellAdopted(dropped: DurableState, adopted: DurableState): void {
    const isFork =
      (dropped.term ?? 0) < (adopted.term ?? 0) ||
      (dropped.epoch === adopted.epoch && dropped.revision === adopted.revision);
    const words = isFork ? droppedWords(dropped, adopted) : '';
    if (words === '' && dropped.epoch === adopted.epoch && dropped.term === adopted.term) return;
    const lost = words === '' ? '' : `; ${words.slice(0, 2_000)}`;
    const detail = `the other's state (${stampWords(adopted)}) holds${lost}`;
    this.#options.tell('info', 'peer.state_adopted', detail);
  }

  #tellUnsaved(reason: string | null): void {
    if (reason !== null && reason !== this.#toldUnsaved) {
      const detail = `what the other has decided counts here, and is not on this disk: ${reason}`;
      this.#options.tell('warn', 'peer.state_not_saved', detail);
    }
    this.#toldUnsaved = reason;
  }

  /** Questions and answers go by two lines, and one may be under way for long: the other has said more since then. */
  #isOvertaken({ process, order }: PeerMessage): boolean {
    const last = this.#other;
    if (process === this.#before) return true;
    return last?.process === process && order !== null && last.order !== null && order < last.order;
  }

  /** Tells what has changed, and begins a term where one is needed. */
  #judge(): void {
    const { store, tell, onRight, link, timeoutMs } = this.#options;
    const { sight } = this;
    if (sight.kind !== this.#toldSight) {
      if (sight.kind === 'connected') tell('info', 'peer.connected', `${link.address} answers`);
      if (sight.kind === 'gone')
        tell(
          'warn',
          'peer.gone',
          `${link.address} ${this.#hasLeft ? 'was stopped' : `has not answered for ${timeoutMs} ms, or is closed`}`,
        );
      this.#toldSight = sight.kind;
    }
    if (sight.kind === 'gone' && this.#holds && this.#mayGoOn && !sight.hasTerm && !this.#leaves) {
      // Tried again with the next look when the disk does not take it.
      void store.beginTerm().then(
        () => this.#judge(),
        () => undefined,
      );
    }
    const right = JSON.stringify(this.right);
    if (right === this.#toldRight) return;
    this.#toldRight = right;
    onRight();
  }
}

/** What one of the two says of itself. */
function rowOf(
  message: PeerMessage | null,
): Pick<PeerReport, 'holdsVip' | 'version' | 'term' | 'epoch' | 'revision' | 'doing'> {
  if (message === null)
    return { holdsVip: null, version: null, term: null, epoch: null, revision: null, doing: '' };
  const { holds, version, state, busy, isActing } = message;
  const doing = busy.length > 0 ? `a promotion of ${busy.join(', ')}` : isActing ? 'acts on servers' : '';
  return {
    holdsVip: holds,
    version,
    term: state.term ?? 0,
    epoch: state.epoch,
    revision: state.revision ?? 0,
    doing,
  };
}
