/**
 * Where two transcripts part, and how that is told.
 */
import type { Meaning } from '../../support/wire-decode.ts';
import { errorRows, type ErrorCode } from '../../../src/base/errors.ts';
import type { Transcripts } from './arena.ts';
import { ENDPOINTS } from './endpoints.ts';
import type { Answer } from './masks.ts';
import { stepLine, type ProfileName, type Scenario, type Step } from './scenario.ts';

/** The first step whose answers are not the same. */
export interface Difference {
  /** The step, counted from 0; behind the last one: see endWords. */
  readonly at: number;
  readonly direct: Answer;
  readonly proxied: Answer;
  /** What dbproxy refuses in words of its own, where it does so: then all that follows is another story. */
  readonly refusal: ErrorCode | typeof SERVER_DEFECT | typeof KEPT_CHARACTER_SET | null;
}

/**
 * A server does what no server should: MySQL 9.7 answers an execution without a cursor wrongly or not at all after one with
 * a cursor (through dbproxy it often runs on another connection by then), and MySQL 5.6 gives the insert_id
 * that one user has set to the insert of the next one on the connection (dbproxy does not).
 */
const SERVER_DEFECT = 'SERVER_DEFECT';

/**
 * MariaDB reads the text of a parameter in the character set of the execution that has sent its type, also after SET
 * NAMES; prepared anew on another connection it is read in the one of now (docs/differences.md).
 */
const KEPT_CHARACTER_SET = 'KEPT_CHARACTER_SET';

/** The errors by which dbproxy says what a split endpoint does not do (docs/differences.md). */
const REFUSED: readonly ErrorCode[] = [
  'DBPROXY_STATE_GONE',
  'DBPROXY_READ_ONLY_TRANSACTION',
  'DBPROXY_PREPARED_BEFORE',
  'DBPROXY_QUEUE_TIMEOUT',
];
const REFUSALS = errorRows()
  .filter(({ code }) => REFUSED.includes(code))
  .map(({ code, errno, message }) => ({ code, errno, parts: message.split('%s') }));

/** Where the two part on an endpoint; null when they do not. */
export function firstDifference({ direct, proxied }: Transcripts, profile: ProfileName): Difference | null {
  const at = direct.findIndex((answer, index) => !isSame(answer, proxied[index]!));
  if (at === -1) return null;
  const refusal = refusalIn(proxied[at]!, profile);
  const last = proxied.length - 1;
  // Whatever was refused, the replica must have what the primary has.
  if (refusal !== null && !isSame(proxied[last - 1]!, proxied[last]!)) {
    return { at: last, direct: proxied[last - 1]!, proxied: proxied[last]!, refusal: null };
  }
  return { at, direct: direct[at]!, proxied: proxied[at]!, refusal };
}

function isSame(left: Answer, right: Answer): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}

function refusalIn(answer: Answer, profile: ProfileName): ErrorCode | null {
  // The connection may have been closed after it.
  const last = answer.findLast(({ kind }) => kind === 'error');
  if (last?.kind !== 'error') return null;
  const { errno, message } = last;
  const fitting = REFUSALS.find(
    (row) => row.errno === errno && row.parts.every((part) => message.includes(part)),
  );
  // Where connections are few, more sessions may be pinned than there are connections; nowhere else.
  if (fitting?.code === 'DBPROXY_QUEUE_TIMEOUT' && ENDPOINTS[profile].pinning === undefined) return null;
  return fitting?.code ?? null;
}

/** The same difference, when the server is to blame for it, or what it alone remembers. */
export function blamedOnServer(difference: Difference | null, scenario: Scenario): Difference | null {
  if (difference === null) return null;
  if (scenario.flavour === 'mariadb' && isByKeptCharacterSet(difference, scenario)) {
    return { ...difference, refusal: KEPT_CHARACTER_SET };
  }
  const isDefect =
    (scenario.flavour === 'mysql97' && isAfterCursor(difference, scenario)) ||
    (scenario.flavour === 'mysql56' && isInheritedId(difference, scenario));
  return isDefect ? { ...difference, refusal: SERVER_DEFECT } : difference;
}

function isAfterCursor({ at, direct }: Difference, { steps }: Scenario): boolean {
  const step = steps[at];
  if (step === undefined || !('do' in step) || step.do !== 'execute' || step.cursor === true) return false;
  const [said] = direct;
  if (said?.kind !== 'text' || !said.text.startsWith('broken:')) return false;
  return steps
    .slice(0, at)
    .some(
      (one) =>
        'do' in one &&
        one.do === 'execute' &&
        one.session === step.session &&
        one.slot === step.slot &&
        one.cursor === true,
    );
}

/** The step itself, or an earlier one that has written such a text. What the replica has is compared with the primary's. */
function isByKeptCharacterSet({ at, refusal }: Difference, { steps }: Scenario): boolean {
  if (refusal !== null || at > steps.length + 1) return false;
  return steps.slice(0, at + 1).some((_, index) => {
    const reader = readerOfKept(steps.slice(0, index + 1));
    return reader !== null && (index === at || !/^\s*select\b/i.test(reader));
  });
}

const SETS_CHARACTERS =
  /\bset\b.*\b(?:names|charset|character\s+set|character_set_\w+|collation_connection)\b/is;

/** The statement that the last step executes with texts and without their types, sent before a SET NAMES; else null. */
function readerOfKept(steps: readonly Step[]): string | null {
  const last = steps.at(-1);
  if (last === undefined || !('do' in last) || last.do !== 'execute') return null;
  if (last.bare !== true || !last.kinds.includes('s')) return null;
  const own = steps.filter((one) => 'session' in one && one.session === last.session);
  const typedAt = own.findLastIndex(
    (one) => 'do' in one && one.do === 'execute' && one.slot === last.slot && one.bare !== true,
  );
  const prepared = own.findLast((one) => 'do' in one && one.do === 'prepare' && one.slot === last.slot);
  const hasSet = own
    .slice(typedAt + 1)
    .some((one) => 'do' in one && one.do === 'query' && SETS_CHARACTERS.test(one.sql));
  return hasSet && prepared !== undefined && 'do' in prepared && prepared.do === 'prepare'
    ? prepared.sql
    : null;
}

function isInheritedId({ at, direct }: Difference, { steps }: Scenario): boolean {
  const said = direct.find(({ kind }) => kind === 'ok');
  const step = steps[at];
  if (said?.kind !== 'ok' || said.insertId === '0' || step === undefined || !('session' in step))
    return false;
  const own = steps.slice(0, at).filter((one) => 'session' in one && one.session === step.session);
  const setAt = own.findIndex((one) => 'do' in one && one.do === 'query' && /\binsert_id\b/i.test(one.sql));
  return setAt >= 0 && own.slice(setAt).some((one) => 'do' in one && one.do === 'change_user');
}

/** A scenario as text; `marked` is the step that it is about. */
export function scenarioText(scenario: Scenario, marked = -1): string {
  const { flavour, profile, flags, user, seed, variablesByTrigger, sessions, steps } = scenario;
  return [
    `${flavour}, endpoint ${profile}, clients ${flags}, user ${user}, seed ${seed ?? 'none'}, ${sessions} sessions${variablesByTrigger ? ', a trigger that sets a variable' : ''}`,
    ...steps.map((step, index) => `${index === marked ? '>' : ' '} ${stepLine(step)}`),
  ].join('\n');
}

/** All that a person needs to see what went wrong and to have it again. */
export function report(scenario: Scenario, difference: Difference): string {
  const isStep = difference.at < scenario.steps.length;
  const [direct, proxied] = [difference.direct, difference.proxied].map((answer) => answer.map(meaningLine));
  return [
    scenarioText(scenario, difference.at),
    isStep ? 'the step marked > was answered' : endWords(scenario, difference),
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
      ? endWords(scenario, difference)
      : 'lag' in step
        ? 'lag'
        : step.do === 'query'
          ? step.sql.slice(0, 40)
          : step.do;
  const kinds = (answer: Answer): string =>
    [...new Set(answer.map((one) => (one.kind === 'error' ? `error ${one.errno}` : one.kind)))].join('+');
  return `${what}: ${kinds(difference.direct)} / ${kinds(difference.proxied)}`;
}

function endWords({ steps }: Scenario, { at }: Difference): string {
  return ['how the sessions logged in', 'the data left on the primary', 'the data left on the replica'][
    at - steps.length
  ]!;
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
