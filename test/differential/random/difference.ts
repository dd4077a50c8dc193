/**
 * Where two transcripts part, and how that is told.
 */
import type { Meaning } from '../../support/wire-decode.ts';
import type { Transcripts } from './arena.ts';
import type { Answer } from './masks.ts';
import { stepLine, type Scenario } from './scenario.ts';

export interface Difference {
  /** The step, counted from 0; behind the last one: the data that was left. */
  readonly at: number;
  readonly direct: Answer;
  readonly proxied: Answer;
}

/** The first step whose answers are not the same; null when there is none. */
export function firstDifference({ direct, proxied }: Transcripts): Difference | null {
  for (let at = 0; at < Math.max(direct.length, proxied.length); at++) {
    const [left, right] = [direct[at] ?? [], proxied[at] ?? []];
    if (JSON.stringify(left) !== JSON.stringify(right)) return { at, direct: left, proxied: right };
  }
  return null;
}

/** A scenario as text; `marked` is the step that it is about. */
export function scenarioText(scenario: Scenario, marked = -1): string {
  const { flavour, profile, flags, user, seed, sessions, steps } = scenario;
  return [
    `${flavour}, endpoint ${profile}, clients ${flags}, user ${user}, seed ${seed ?? 'none'}, ${sessions} sessions`,
    ...steps.map((step, index) => `${index === marked ? '>' : ' '} ${stepLine(step)}`),
  ].join('\n');
}

/** All that a person needs to see what went wrong and to have it again. */
export function report(scenario: Scenario, difference: Difference): string {
  const isStep = difference.at < scenario.steps.length;
  const [direct, proxied] = [difference.direct, difference.proxied].map((answer) => answer.map(meaningLine));
  return [
    scenarioText(scenario, difference.at),
    isStep ? 'the step marked > was answered' : dataWords(scenario, difference),
    '  directly:',
    ...direct!.map((line) => `    ${proxied!.includes(line) ? ' ' : '-'} ${line}`),
    '  through the proxy:',
    ...proxied!.map((line) => `    ${direct!.includes(line) ? ' ' : '+'} ${line}`),
  ].join('\n');
}

/** A short name for what kind of difference it is, to tell those that are new from those seen before. */
export function signature(scenario: Scenario, difference: Difference): string {
  const step = scenario.steps[difference.at];
  const what =
    step === undefined
      ? 'data'
      : 'lag' in step
        ? 'lag'
        : step.do === 'query'
          ? step.sql.slice(0, 40)
          : step.do;
  const kinds = (answer: Answer): string =>
    [...new Set(answer.map((one) => (one.kind === 'error' ? `error ${one.errno}` : one.kind)))].join('+');
  return `${what}: ${kinds(difference.direct)} / ${kinds(difference.proxied)}`;
}

function dataWords({ steps }: Scenario, { at }: Difference): string {
  return at === steps.length ? 'the data left on the primary' : 'the data left on the replica, compared with';
}

function meaningLine(meaning: Meaning): string {
  const { kind, sequence, pieces, ...rest } = meaning;
  const numbers = pieces === 1 ? `#${sequence}` : `#${sequence} in ${pieces} pieces`;
  switch (kind) {
    case 'row':
      return `${numbers} row ${JSON.stringify(meaning.cells)}`;
    case 'error':
      return `${numbers} error ${meaning.errno} (${meaning.sqlState}) ${meaning.message}`;
    case 'text':
    case 'closed':
      return meaning.text;
    case 'ok':
    case 'eof':
    case 'column':
    case 'column_count':
    case 'wants_file':
    case 'prepared':
    case 'auth':
    case 'progress':
      return `${numbers} ${kind} ${JSON.stringify(rest)}`;
  }
}
