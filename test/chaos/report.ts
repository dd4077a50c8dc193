/**
 * What a chaos run says: a line a round while it goes, and the figures at its end.
 */
import { appendFileSync } from 'node:fs';
import type { LogEvent } from '../lab/proxy.ts';
import type { Entry } from './workload.ts';

export interface RoundResult {
  readonly round: number;
  readonly faults: readonly string[];
  readonly kinds: readonly string[];
  readonly before: string | null;
  readonly after: string | null;
  /** The longest time without an acknowledged write. */
  readonly gapMs: number;
  readonly entries: readonly Entry[];
  /** Servers that had what nobody else had, and were copied anew. */
  readonly copied: readonly string[];
  readonly violations: readonly string[];
}

/** Lines of one kind that are shown of a round; a broken promise may be broken a thousand times. */
const SHOWN = 8;

export class Report {
  readonly #title: string;
  readonly #logPath: string | null;
  readonly #gapsByKind = new Map<string, number[]>();
  readonly #totals = { rounds: 0, acknowledged: 0, refused: 0, in_doubt: 0, copied: 0 };
  readonly #violations: string[] = [];
  readonly #notes: string[] = [];

  /** `logPath`: where all that dbproxy logs is kept, too. */
  constructor(title: string, logPath: string | null) {
    this.#title = title;
    this.#logPath = logPath;
    say(title);
  }

  get violations(): number {
    return this.#violations.length;
  }

  round({ round, faults, kinds, before, after, gapMs, entries, copied, violations }: RoundResult): void {
    const count = { acknowledged: 0, refused: 0, in_doubt: 0 };
    for (const { outcome } of entries) count[outcome]++;
    this.#totals.rounds++;
    this.#totals.acknowledged += count.acknowledged;
    this.#totals.refused += count.refused;
    this.#totals.in_doubt += count.in_doubt;
    this.#totals.copied += copied.length;
    const gaps = this.#gapsByKind.get(kinds.join(' + ')) ?? [];
    this.#gapsByKind.set(kinds.join(' + '), [...gaps, gapMs]);
    this.#violations.push(...violations.map((violation) => `round ${round}: ${violation}`));
    const who = before === after ? `${after} stays` : `${before} → ${after}`;
    const anew = copied.length === 0 ? '' : `; copied anew: ${copied.join(', ')}`;
    say(
      `round ${round}: ${faults.join(', ')}; ${who}; gap ${Math.round(gapMs)} ms; ${count.acknowledged} acknowledged, ${count.refused} refused, ${count.in_doubt} in doubt${anew}; ${violations.length === 0 ? 'all there' : `${violations.length} VIOLATIONS`}`,
    );
    for (const violation of violations.slice(0, SHOWN)) say(`  ${violation}`);
    const errors = new Map<string, number>();
    for (const { error } of entries) if (error !== '') errors.set(error, (errors.get(error) ?? 0) + 1);
    const most = [...errors].toSorted(([, one], [, other]) => other - one).slice(0, SHOWN);
    for (const [error, times] of most) say(`  ${times} × ${error.slice(0, 200)}`);
  }

  /** What dbproxy logged in a round; said when the round went wrong. */
  events(round: number, log: readonly LogEvent[], wentWrong: boolean): void {
    const lines = log.map((event) => JSON.stringify(event));
    if (this.#logPath !== null) appendFileSync(this.#logPath, `round ${round}\n${lines.join('\n')}\n`);
    if (wentWrong) for (const line of lines) say(`    ${line}`);
  }

  /** The run could not go on. */
  endedEarly(error: unknown): void {
    this.#violations.push(`: ENDED EARLY: ${String(error)}`);
    say(`ENDED EARLY: ${error instanceof Error ? error.stack : String(error)}`);
  }

  /** A line for the figures. */
  note(line: string): void {
    this.#notes.push(line);
  }

  /** The figures. */
  summary(): string {
    const { rounds, acknowledged, refused, in_doubt: inDoubt, copied } = this.#totals;
    const lines = [
      '',
      `${this.#title}: ${rounds} rounds; ${acknowledged} writes acknowledged, ${refused} refused, ${inDoubt} in doubt; ${copied} servers copied anew`,
      ...[...this.#gapsByKind].toSorted().map(([kind, gaps]) => {
        const sorted = gaps.toSorted((one, other) => one - other);
        return `  ${kind.padEnd(40)} ${String(sorted.length).padStart(4)} ×  gap median ${Math.round(sorted[sorted.length >> 1]!)} ms, most ${Math.round(sorted.at(-1)!)} ms`;
      }),
      ...this.#notes,
      `lost: ${this.#count('LOST')}, twice: ${this.#count('DUPLICATE')}, refused but there: ${this.#count('REFUSED')}, half: ${this.#count('HALF')}, two writers: ${this.#count('TWO')}, different: ${this.#count('DIFFERENT')}, hung: ${this.#count('HUNG')}, not well again: ${this.#count('NOT WELL')}, not done: ${this.#count('NOT DONE')}, ended early: ${this.#count('ENDED')}`,
    ];
    return `${lines.join('\n')}\n`;
  }

  #count(word: string): number {
    return this.#violations.filter((violation) => violation.includes(`: ${word}`)).length;
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
