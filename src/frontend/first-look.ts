/**
 * The first look at a command of a session that keeps its connection: may it pass as it lies, or has somebody to see
 * it whole first? The session wants to see what ends it or changes it, and KILL, whose id only dbproxy knows; a read
 * endpoint every statement that is no plain SELECT.
 */
import { Capability, Command } from '../protocol/constants.ts';
import { textStart, UNKNOWN_START } from '../protocol/query-attributes.ts';
import { mayBeKill } from '../sql/kill.ts';
import { beginsWithSelect, isPlainSelect } from '../sql/read-guard.ts';

/** Largest command that is assembled to be looked at. */
export const INSPECT_BYTES = 1024 * 1024;

/** How a command is treated, by its first byte. */
const PASS = 0;
const LOOK = 1;
const HOST = 2;
const treatment = new Uint8Array(256);
treatment[Command.QUERY] = LOOK;
treatment[Command.STMT_PREPARE] = LOOK;
treatment[Command.QUIT] = HOST;
treatment[Command.CHANGE_USER] = HOST;
treatment[Command.RESET_CONNECTION] = HOST;
treatment[Command.PROCESS_KILL] = HOST;

/** The session itself deals with it, whatever is in it. */
export function isForHost(command: number): boolean {
  return treatment[command] === HOST;
}

export class FirstLook {
  readonly #capabilities: number;
  readonly #guardsReads: boolean;
  /** A packet of the client may hold several statements. */
  mayHoldSeveral: boolean;

  /** `guardsReads`: a read endpoint. */
  constructor(capabilities: number, guardsReads: boolean) {
    this.#capabilities = capabilities;
    this.#guardsReads = guardsReads;
    this.mayHoldSeveral = (capabilities & Capability.MULTI_STATEMENTS) !== 0;
  }

  /** Nothing in it would change what becomes of it. No KILL is so long that it would not be assembled. */
  passesUnseen(command: number, length: number): boolean {
    const how = treatment[command]!;
    return how === PASS || (how === LOOK && !this.#guardsReads && length > INSPECT_BYTES);
  }

  /** Nobody needs to see the statement `input[payload, end)`, of which that is the `whole` or the beginning. */
  passes(command: number, input: Buffer, payload: number, end: number, whole: boolean): boolean {
    if (treatment[command] !== LOOK) return false;
    const start = textStart(input, payload, end, this.#capabilities);
    if (start === UNKNOWN_START) return false;
    if (this.#guardsReads) {
      return this.mayHoldSeveral
        ? whole && isPlainSelect(input, start, end)
        : beginsWithSelect(input, start, end);
    }
    // Of a statement whose text is still to come nothing is known.
    return (whole || start < end) && !mayBeKill(input, start, end);
  }
}
