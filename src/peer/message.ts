/**
 * What the two dbproxies of a pair tell each other, as the text behind PEER and as its answer: one JSON object, read
 * with care, as the other may be of another version.
 */
import { refusal } from '../base/errors.ts';
import { formatState, parseState, type DurableState } from '../topology/state-file.ts';

export interface PeerMessage {
  /** Of the process: another one after each start. */
  readonly process: string;
  /** Of all that this process has said so far, the how many-th; null: one that does not say it. */
  readonly order: number | null;
  /** The write VIP is on its host. */
  readonly holds: boolean;
  /** Clusters in which it is in the middle of a promotion. */
  readonly busy: readonly string[];
  /** It has begun something at servers that has not ended yet. */
  readonly isActing: boolean;
  /** It is being stopped, and this process does nothing more to servers, nor to what both have. */
  readonly leaves: boolean;
  /** Of the configuration that both should have; see `config/shared-part.ts`. */
  readonly config: string;
  /** Of the program; null: one that does not say it. */
  readonly version: string | null;
  /** Its host's clock, Unix time in milliseconds. */
  readonly wallMs: number | null;
  readonly state: DurableState;
}

const FORMAT = 1;

/** Asks for the same answer, and says nothing: for who only looks, as the doctor. */
export const LOOK = JSON.stringify({ format: FORMAT, look: true });

/** The message as a text. */
export function formatMessage({ state, ...rest }: PeerMessage): string {
  return JSON.stringify({ format: FORMAT, ...rest, state: formatState(state) });
}

/** Reads a message; throws DBPROXY_ADMIN_BAD_VALUE with what is wrong with it. */
export function parseMessage(text: string): PeerMessage {
  const bad = (why: string): Error => refusal('DBPROXY_ADMIN_BAD_VALUE', 'PEER', text.slice(0, 40), why);
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch (error) {
    throw bad((error as Error).message);
  }
  if (typeof read !== 'object' || read === null) throw bad('it is no object');
  const { format, process, order, holds, busy, isActing, leaves, config, version, wallMs, state } =
    read as Record<string, unknown>;
  if (format !== FORMAT)
    throw bad(`it has format ${JSON.stringify(format)}, this version reads format ${FORMAT}`);
  if (typeof process !== 'string' || typeof config !== 'string') throw bad('process or config is missing');
  if (typeof holds !== 'boolean') throw bad('holds is neither true nor false');
  if (!Array.isArray(busy) || !busy.every((one): one is string => typeof one === 'string'))
    throw bad('busy is no list of names');
  const parsed = typeof state === 'string' ? parseState(state) : 'state is missing';
  if (typeof parsed === 'string') throw bad(parsed);
  // What a version before does not say is not known.
  return {
    process,
    order: typeof order === 'number' ? order : null,
    holds,
    busy,
    isActing: isActing === true,
    leaves: leaves === true,
    config,
    version: typeof version === 'string' ? version : null,
    wallMs: typeof wallMs === 'number' ? wallMs : null,
    state: parsed,
  };
}
