/**
 * The table of admin statements: how each begins, its syntax, what it does, and how the rest of it is
 * read. HELP, the search for the nearest statement and the parser all use this table. A row without
 * `parse` is a statement of a later version: known, and refused by its name.
 */
import { refusal } from '../base/errors.ts';
import type { BackendChange } from '../ipc/operations.ts';
import { didYouMean } from '../config/suggest.ts';
import { readDuration } from '../config/values.ts';
import { parseExplainRoute } from './explain-route.ts';
import type { Comparison, Condition, Filter, SelectItem, ShowTable, Statement } from './statement.ts';
import type { Cursor } from './tokens.ts';

/** One statement. */
export interface StatementRow {
  /** First words, in capitals; alternatives when there are several ways to say it. */
  begins: readonly string[];
  syntax: string;
  help: string;
  /** Reads what follows the first words; absent when this version does not have the statement. */
  parse?: (cursor: Cursor) => Statement;
  /** In place of `parse`, for a statement that holds one of a server: reads the text behind the first words. */
  parseText?: (text: string) => Statement;
  /** What to do as long as this version does not have the statement. */
  instead?: string;
  /** For clients, not for people: left out of HELP and of suggestions. */
  hidden?: boolean;
}

const MAX_WEIGHT = 10_000;
const MAX_CONNECTIONS = 1_000_000;
const MAX_ID = 0xffff_ffff;

/** All statements. Where several rows match, the one with the most first words is meant. */
export const statementRows: readonly StatementRow[] = [
  show('CLUSTERS', 'clusters', 'clusters and who is primary in them'),
  show('BACKENDS', 'backends', 'servers: role, state, lag, weights, connections'),
  show('LISTENERS', 'listeners', 'addresses applications connect to'),
  show('POOLS', 'pools', 'connections to backends, a row a backend and user'),
  show('USERS', 'users', 'accounts of applications (no secrets)'),
  show('SESSIONS', 'sessions', 'client sessions', ['SHOW PROCESSLIST', 'SHOW FULL PROCESSLIST']),
  show('STATUS', 'status', 'counters and gauges', ['SHOW GLOBAL STATUS', 'SHOW SESSION STATUS']),
  show('VARIABLES', 'variables', 'settings of the process', [
    'SHOW GLOBAL VARIABLES',
    'SHOW SESSION VARIABLES',
  ]),
  show('EVENTS', 'events', 'what happened, the newest last'),
  show('DIGESTS', 'digests', 'statements by their form, with times, the most time first'),
  show('RULES', 'rules', 'where [rule] sections send statements, and how often they did'),
  show('TOPOLOGY', 'topology', 'the snapshot that the workers route by'),
  show('CONFIG', 'config', 'configuration in force (secrets masked)'),
  show('CONFIG DIFF', 'config-diff', 'where the running state differs from the file'),
  show('PLAN', 'plan', 'the promotion under way: what is done, what is left'),
  show(
    'DIAGNOSES',
    'diagnoses',
    'what is the matter with each cluster, the gravest first, and what is done about it',
  ),
  show(
    'PEER',
    'peer',
    'the two dbproxies of a pair: who has the VIP, who is in charge, what the other has said last',
  ),
  show('VERSION', 'version', 'version of dbproxy'),
  {
    begins: ['SHOW HELP', 'HELP'],
    syntax: 'SHOW HELP [word]',
    help: 'this list, or the statements that have the word; HELP too, but some clients keep that to themselves',
    parse: (cursor) => ({ kind: 'help', about: cursor.atEnd ? '' : cursor.name('a word') }),
  },
  {
    begins: ['SET BACKEND'],
    syntax: 'SET BACKEND b RW_WEIGHT = n, RO_WEIGHT = n, MAX_CONNECTIONS = n',
    help: 'changes weights and limits at once; kept over restarts',
    parse: parseSetBackend,
  },
  {
    // The same first words: a second line of HELP, read by the row above.
    begins: [],
    syntax: "SET BACKEND b ONLINE | DRAIN [TIMEOUT '30s'] | OFFLINE",
    help: 'takes a server into service, lets its sessions run out, or takes it out',
    parse: parseSetBackend,
  },
  {
    begins: ['ADD BACKEND'],
    syntax: "ADD BACKEND b ADDRESS '…' CLUSTER c [RW_WEIGHT n] [RO_WEIGHT n] [key value …] [CLONE [FROM x]]",
    help: 'a new server, with the keys of a [backend] section; CLONE fills it first, and has it follow; kept over restarts',
    parse: parseAddBackend,
  },
  {
    begins: ['DROP BACKEND'],
    syntax: 'DROP BACKEND b',
    help: 'forgets a server when its sessions have left it; kept over restarts',
    parse: (cursor) => ({ kind: 'drop-backend', backend: cursor.name('the name of a backend') }),
  },
  {
    begins: ['SWITCHOVER'],
    syntax: 'SWITCHOVER [CLUSTER c] [TO b] [DRY RUN]',
    help: 'planned change of primary: statements wait and go on, none fails; answers the steps',
    parse: (cursor) => parseChangePrimary(cursor, 'switchover'),
  },
  {
    begins: ['FAILOVER'],
    syntax: 'FAILOVER [CLUSTER c] [TO b] [FORCE] [DRY RUN]',
    help: 'the primary is gone: promotes a replica that lacks nothing, or with FORCE the best there is',
    parse: (cursor) => parseChangePrimary(cursor, 'failover'),
  },
  {
    begins: ['PROMOTE'],
    syntax: 'PROMOTE b [FORCE]',
    help: 'makes b the primary of its cluster: hands over, or fails over when the primary is down, or has b take writes again; FORCE takes the loss that a refusal tells of; answers the steps',
    parse: (cursor) => ({
      kind: 'promote',
      backend: cursor.name('the name of a backend'),
      force: cursor.takeWords('FORCE'),
    }),
  },
  {
    begins: ['BOOTSTRAP'],
    syntax: 'BOOTSTRAP CLUSTER c [PRIMARY b] [DRY RUN]',
    help: 'makes a working cluster of servers that are empty or hold the same data; answers the steps',
    parse: parseBootstrap,
  },
  {
    begins: ['CLONE BACKEND'],
    syntax: 'CLONE BACKEND b [FROM x] [DRY RUN]',
    help: 'fills an empty server from another one, by default the primary, and has it follow',
    parse: (cursor) => ({
      kind: 'clone-backend',
      backend: cursor.name('the name of a backend'),
      from: cursor.takeWords('FROM') ? cursor.name('the name of a backend') : null,
      dryRun: cursor.takeWords('DRY', 'RUN'),
    }),
  },
  {
    begins: ['REHEARSE SWITCHOVER'],
    syntax: 'REHEARSE SWITCHOVER [CLUSTER c] [TO b]',
    help: 'a switchover there and back; answers the steps of both and how long statements waited',
    parse: (cursor) => ({ kind: 'rehearse', cluster: parseCluster(cursor), to: parseTo(cursor) }),
  },
  {
    begins: ['REJOIN'],
    syntax: 'REJOIN b [APPEND | DISCARD] [DRY RUN]',
    help: 'brings an old primary back as a replica; what only it has is saved, made again at the primary (APPEND) or not (DISCARD), and undone there',
    parse: parseRejoin,
  },
  {
    begins: ['SHOW LOST TRANSACTIONS'],
    syntax: "SHOW LOST TRANSACTIONS [b] [LIKE 'pattern' | WHERE column = value]",
    help: 'what old primaries had that nobody else has, a row a change, with the files that hold it',
    parse: parseLostTransactions,
  },
  {
    begins: ['MAINTENANCE'],
    syntax: 'MAINTENANCE ON | OFF [CLUSTER c]',
    help: 'dbproxy changes nothing on the servers by itself: no failover, no read_only, no rejoin; kept over restarts',
    parse: parseMaintenance,
  },
  later('PAUSE', 'PAUSE [CLUSTER c | LISTENER l]', 'hold new statements'),
  later('RESUME', 'RESUME [CLUSTER c | LISTENER l]', 'let them go'),
  {
    begins: ['EXPLAIN ROUTE'],
    syntax: 'EXPLAIN ROUTE [ON LISTENER l] [FOR SESSION id] sql',
    help: 'where a statement would go and every reason why; it is not run. In quotes it may hold semicolons',
    parseText: parseExplainRoute,
  },
  {
    begins: ['EXPLAIN SESSION'],
    syntax: 'EXPLAIN SESSION id',
    help: 'what a session has set, what it depends on, and why it keeps its connection',
    parse: (cursor) => ({
      kind: 'explain-session',
      sessionId: cursor.wholeNumber('the id of a session', MAX_ID),
    }),
  },
  later('ADD USER', 'ADD USER …', 'a new account'),
  later('SET USER', 'SET USER …', 'change an account'),
  later('DROP USER', 'DROP USER …', 'forget an account'),
  later('ADD FILTER', 'ADD FILTER …', 'refuse statements by their form'),
  later('DROP FILTER', 'DROP FILTER …', 'let them through again'),
  {
    begins: ['KILL'],
    syntax: 'KILL [CONNECTION | QUERY] id',
    help: 'ends a client session, or only its running statement',
    parse: parseKill,
  },
  {
    begins: ['RELOAD USERS'],
    syntax: 'RELOAD USERS [CLUSTER c]',
    help: 'reads the accounts of users = import from the primary now',
    parse: (cursor) => ({
      kind: 'reload-users',
      cluster: cursor.takeWords('CLUSTER') ? cursor.name('the name of a cluster') : null,
    }),
  },
  {
    begins: ['RELOAD TLS'],
    syntax: 'RELOAD TLS',
    help: 'reads the certificates of the listeners again; a changed file is read by itself, too',
    parse: () => ({ kind: 'reload-tls' }),
  },
  later('RELOAD CONFIG', 'RELOAD CONFIG', 'read the file again'),
  later('SAVE CONFIG', 'SAVE CONFIG', 'write the running state to the file'),
  {
    begins: ['SET PEER GONE'],
    syntax: 'SET PEER GONE',
    help: 'the other dbproxy and its host are dead, by your word: this one goes on without it, until it is heard',
    parse: () => ({ kind: 'peer-gone' }),
  },
  {
    begins: ['PEER'],
    syntax: 'PEER message',
    help: 'said by the other dbproxy of a pair',
    parseText: (message) => ({ kind: 'peer', message }),
    hidden: true,
  },
  {
    begins: ['SHUTDOWN'],
    syntax: 'SHUTDOWN [NOW]',
    help: 'stops dbproxy within shutdown_timeout, or at once',
    parse: (cursor) => ({ kind: 'shutdown', now: cursor.takeWords('NOW') }),
  },
  {
    begins: ['SHOWBACKENDS'],
    syntax: 'ShowBackends',
    help: 'servers, in the form of the older dbproxy',
    parse: (cursor) => ({ kind: 'show', table: 'seed-backends', filter: parseFilter(cursor) }),
  },
  {
    begins: ['SETBACKENDPARAM'],
    syntax: 'SetBackendParam --backend=ip:port --rw-weight=n --ro-weight=n',
    help: 'changes weights, in the form of the older dbproxy',
    parse: parseSeedWeights,
  },
  {
    begins: ['SETBKONLINE'],
    syntax: 'SetBKOnline --backend=ip:port',
    help: 'takes a server into service',
    parse: (cursor) => seedState(cursor, 'online'),
  },
  {
    begins: ['SETBKOFFLINE'],
    syntax: 'SetBKOffline --backend=ip:port',
    help: 'takes a server out of service',
    parse: (cursor) => seedState(cursor, 'offline'),
  },
  forClients(['SHOW DATABASES', 'SHOW SCHEMAS'], (cursor) => showOf('databases', cursor)),
  forClients(['SHOW TABLES', 'SHOW FULL TABLES'], (cursor) => {
    if (cursor.takeWords('FROM') || cursor.takeWords('IN')) cursor.name('a database');
    return showOf('tables', cursor);
  }),
  forClients(['SHOW WARNINGS', 'SHOW ERRORS'], (cursor) => {
    if (cursor.takeWords('LIMIT')) cursor.wholeNumber('LIMIT', MAX_ID);
    return { kind: 'show', table: 'warnings', filter: { kind: 'all' } };
  }),
  forClients(['SELECT'], parseSelect),
  forClients(['USE'], (cursor) => {
    cursor.name('a database');
    return { kind: 'nothing' };
  }),
  forClients(['BEGIN', 'COMMIT', 'ROLLBACK', 'START TRANSACTION'], () => ({ kind: 'nothing' })),
  forClients(['SET NAMES', 'SET CHARACTER', 'SET CHARSET', 'SET SESSION', 'SET TRANSACTION'], ignoreRest),
];

/** This version has the statement; the others are refused by their name. */
export function isAvailable({ parse, parseText }: StatementRow): boolean {
  return parse !== undefined || parseText !== undefined;
}

function show(word: string, table: ShowTable, help: string, aliases: readonly string[] = []): StatementRow {
  return {
    begins: [`SHOW ${word}`, ...aliases],
    syntax: `SHOW ${word} [LIKE 'pattern' | WHERE column = value]`,
    help,
    parse: (cursor) => showOf(table, cursor),
  };
}

function later(begins: string, syntax: string, help: string, instead?: string): StatementRow {
  return { begins: [begins], syntax, help, ...(instead !== undefined && { instead }) };
}

function forClients(begins: readonly string[], parse: (cursor: Cursor) => Statement): StatementRow {
  return { begins, syntax: begins[0]!, help: 'asked by client programs', parse, hidden: true };
}

function showOf(table: ShowTable, cursor: Cursor): Statement {
  return { kind: 'show', table, filter: parseFilter(cursor) };
}

/** `LIKE 'pattern'`, `WHERE column = value [AND column > value]`, or nothing. */
function parseFilter(cursor: Cursor): Filter {
  if (cursor.takeWords('LIKE')) return { kind: 'like', pattern: cursor.name("a pattern such as 'db%'") };
  if (!cursor.takeWords('WHERE')) return { kind: 'all' };
  const conditions: Condition[] = [];
  do {
    const column = cursor.name('a column');
    const comparison = parseComparison(cursor);
    const token = cursor.take();
    if (token === undefined || token.kind === 'sign') {
      throw refusal('DBPROXY_ADMIN_SYNTAX', `expected a value behind ${column} ${comparison}`);
    }
    conditions.push({ column, comparison, value: token.text });
  } while (cursor.takeWords('AND'));
  return { kind: 'where', conditions };
}

function parseComparison(cursor: Cursor): Comparison {
  if (cursor.takeWords('LIKE')) return 'like';
  if (cursor.takeSign('!')) {
    cursor.sign('=');
    return '!=';
  }
  if (cursor.takeSign('<')) {
    if (cursor.takeSign('>')) return '!=';
    return cursor.takeSign('=') ? '<=' : '<';
  }
  if (cursor.takeSign('>')) return cursor.takeSign('=') ? '>=' : '>';
  if (cursor.takeSign('=')) return '=';
  throw cursor.expected('=, !=, <, <=, >, >= or LIKE');
}

function parseSetBackend(cursor: Cursor): Statement {
  const backend = cursor.name('the name of a backend');
  return { kind: 'set-backend', backend, change: parseState(cursor) ?? parseNumbers(cursor) };
}

function parseState(cursor: Cursor): BackendChange | undefined {
  if (cursor.takeWords('ONLINE')) return { admin: 'online' };
  if (cursor.takeWords('OFFLINE')) return { admin: 'offline' };
  if (!cursor.takeWords('DRAIN')) return undefined;
  if (!cursor.takeWords('TIMEOUT')) return { admin: 'draining' };
  cursor.takeSign('=');
  const written = cursor.name("a duration such as '30s'");
  const read = readDuration(written, 0);
  if ('problem' in read) throw refusal('DBPROXY_ADMIN_BAD_VALUE', 'TIMEOUT', written, read.problem);
  return { admin: 'draining', drainTimeoutMs: read.value };
}

const STATES = ['ONLINE', 'OFFLINE', 'DRAIN'] as const;
const SETTABLE: readonly string[] = ['RW_WEIGHT', 'RO_WEIGHT', 'MAX_CONNECTIONS'];

/** `RW_WEIGHT = n, RO_WEIGHT = n, MAX_CONNECTIONS = n`, each at most once. */
function parseNumbers(cursor: Cursor): BackendChange {
  const change: BackendChange = {};
  const first = cursor.peek();
  const isNumber = cursor.peek(1)?.text === '=';
  if (first?.kind === 'word' && !isNumber && !SETTABLE.includes(first.text.toUpperCase()))
    throw cursor.notExpected(first, [...STATES, ...SETTABLE]);
  do {
    const written = cursor.name('RW_WEIGHT, RO_WEIGHT, MAX_CONNECTIONS, ONLINE, DRAIN or OFFLINE');
    cursor.sign('=');
    assignNumber(change, written.toUpperCase(), cursor);
  } while (cursor.takeSign(','));
  return change;
}

function assignNumber(change: BackendChange, name: string, cursor: Cursor): void {
  const once = (field: 'rwWeight' | 'roWeight' | 'maxConnections', max: number): void => {
    if (change[field] !== undefined) throw refusal('DBPROXY_ADMIN_SYNTAX', `${name} is given twice`);
    change[field] = cursor.wholeNumber(name, max);
  };
  switch (name) {
    case 'RW_WEIGHT':
      return once('rwWeight', MAX_WEIGHT);
    case 'RO_WEIGHT':
      return once('roWeight', MAX_WEIGHT);
    case 'MAX_CONNECTIONS':
      once('maxConnections', MAX_CONNECTIONS);
      if (change.maxConnections !== 0) return undefined;
      throw refusal(
        'DBPROXY_ADMIN_BAD_VALUE',
        name,
        '0',
        'the least is 1; to give it no traffic, set OFFLINE',
      );
    default:
      throw refusal(
        'DBPROXY_ADMIN_SYNTAX',
        `a backend has no ${name} to set; it has RW_WEIGHT, RO_WEIGHT and MAX_CONNECTIONS${didYouMean(name, SETTABLE)}`,
      );
  }
}

/** `KEY value` or `KEY = value`, in any order, as often as there are keys; `CLONE` comes last. */
function parseAddBackend(cursor: Cursor): Statement {
  const backend = cursor.name('the name of a backend');
  const keys: Record<string, string> = {};
  while (!cursor.atEnd && !isWord(cursor, 'CLONE')) {
    const key = cursor.name('ADDRESS, CLUSTER, RW_WEIGHT, RO_WEIGHT or another key').toLowerCase();
    if (key in keys) throw refusal('DBPROXY_ADMIN_SYNTAX', `${key.toUpperCase()} is given twice`);
    cursor.takeSign('=');
    keys[key] = cursor.name(`the value of ${key.toUpperCase()}`);
    cursor.takeSign(',');
  }
  for (const key of ['address', 'cluster']) {
    if (keys[key] === undefined) throw refusal('DBPROXY_ADMIN_SYNTAX', `expected ${key.toUpperCase()}`);
  }
  if (!cursor.takeWords('CLONE')) return { kind: 'add-backend', backend, keys, clone: null };
  const from = cursor.takeWords('FROM') ? cursor.name('the name of a backend') : null;
  return { kind: 'add-backend', backend, keys, clone: { from } };
}

function isWord(cursor: Cursor, word: string): boolean {
  const token = cursor.peek();
  return token?.kind === 'word' && token.text.toUpperCase() === word;
}

function parseBootstrap(cursor: Cursor): Statement {
  if (!cursor.takeWords('CLUSTER'))
    throw refusal('DBPROXY_ADMIN_SYNTAX', 'expected CLUSTER behind BOOTSTRAP');
  return {
    kind: 'bootstrap',
    cluster: cursor.name('the name of a cluster'),
    primary: cursor.takeWords('PRIMARY') ? cursor.name('the name of a backend') : null,
    dryRun: cursor.takeWords('DRY', 'RUN'),
  };
}

function parseChangePrimary(cursor: Cursor, as: 'switchover' | 'failover'): Statement {
  return {
    kind: 'change-primary',
    as,
    cluster: parseCluster(cursor),
    to: parseTo(cursor),
    force: as === 'failover' && cursor.takeWords('FORCE'),
    dryRun: cursor.takeWords('DRY', 'RUN'),
  };
}

function parseRejoin(cursor: Cursor): Statement {
  const backend = cursor.name('the name of a backend');
  const append = cursor.takeWords('APPEND');
  const discard = !append && cursor.takeWords('DISCARD');
  const mode = append ? 'append' : discard ? 'discard' : 'plain';
  return { kind: 'rejoin', backend, mode, dryRun: cursor.takeWords('DRY', 'RUN') };
}

function parseLostTransactions(cursor: Cursor): Statement {
  const next = cursor.peek();
  const isName = next !== undefined && !(next.kind === 'word' && /^(like|where)$/i.test(next.text));
  const backend = isName ? cursor.name('the name of a backend') : null;
  return { kind: 'lost-transactions', backend, filter: parseFilter(cursor) };
}

function parseCluster(cursor: Cursor): string | null {
  return cursor.takeWords('CLUSTER') ? cursor.name('the name of a cluster') : null;
}

function parseTo(cursor: Cursor): string | null {
  return cursor.takeWords('TO') ? cursor.name('the name of a backend') : null;
}

function parseMaintenance(cursor: Cursor): Statement {
  const on = cursor.takeWords('ON');
  if (!on && !cursor.takeWords('OFF'))
    throw refusal('DBPROXY_ADMIN_SYNTAX', 'expected ON or OFF behind MAINTENANCE');
  return { kind: 'maintenance', on, cluster: parseCluster(cursor) };
}

function parseKill(cursor: Cursor): Statement {
  const query = cursor.takeWords('QUERY');
  if (!query) cursor.takeWords('CONNECTION');
  return { kind: 'kill', id: cursor.wholeNumber('the id of a session', MAX_ID), query };
}

/** `--name=value` or `--name value`, in any order; only the `known` names, each at most once. */
function parseOptions(cursor: Cursor, known: readonly string[]): Map<string, string> {
  const options = new Map<string, string>();
  while (!cursor.atEnd) {
    const option = cursor.name(`an option (${known.map((name) => `--${name}`).join(', ')})`);
    const name = option.replace(/^--/, '').toLowerCase();
    if (!option.startsWith('--') || !known.includes(name)) {
      throw refusal(
        'DBPROXY_ADMIN_SYNTAX',
        `'${option}' is none of ${known.map((word) => `--${word}`).join(', ')}`,
      );
    }
    if (options.has(name)) throw refusal('DBPROXY_ADMIN_SYNTAX', `--${name} is given twice`);
    cursor.takeSign('=');
    options.set(name, cursor.name(`a value for --${name}`));
  }
  return options;
}

function requiredBackend(options: ReadonlyMap<string, string>): string {
  const backend = options.get('backend');
  if (backend === undefined) throw refusal('DBPROXY_ADMIN_SYNTAX', '--backend=ip:port is missing');
  return backend;
}

function parseSeedWeights(cursor: Cursor): Statement {
  const options = parseOptions(cursor, ['backend', 'rw-weight', 'ro-weight']);
  const change: BackendChange = {};
  const weights = [
    ['rw-weight', 'rwWeight'],
    ['ro-weight', 'roWeight'],
  ] as const;
  for (const [option, field] of weights) {
    const written = options.get(option);
    if (written === undefined) continue;
    if (!/^\d{1,5}$/.test(written) || Number(written) > MAX_WEIGHT) {
      throw refusal(
        'DBPROXY_ADMIN_BAD_VALUE',
        option,
        written,
        `a whole number from 0 to ${MAX_WEIGHT} is needed`,
      );
    }
    change[field] = Number(written);
  }
  const backend = requiredBackend(options);
  if (Object.keys(change).length === 0) {
    throw refusal('DBPROXY_ADMIN_SYNTAX', 'nothing to set: give --rw-weight=n, --ro-weight=n or both');
  }
  return { kind: 'set-backend', backend, change };
}

function seedState(cursor: Cursor, admin: 'online' | 'offline'): Statement {
  return {
    kind: 'set-backend',
    backend: requiredBackend(parseOptions(cursor, ['backend'])),
    change: { admin },
  };
}

function ignoreRest(cursor: Cursor): Statement {
  while (cursor.take() !== undefined);
  return { kind: 'nothing' };
}

/** `SELECT expression [[AS] alias], … [LIMIT n]`, the expressions being what clients ask at their start. */
function parseSelect(cursor: Cursor): Statement {
  const items: SelectItem[] = [];
  do {
    items.push(parseSelectItem(cursor));
  } while (cursor.takeSign(','));
  if (cursor.takeWords('FROM', 'DUAL')) return { kind: 'select', items };
  if (cursor.takeWords('LIMIT')) cursor.wholeNumber('LIMIT', MAX_ID);
  return { kind: 'select', items };
}

function parseSelectItem(cursor: Cursor): SelectItem {
  const token = cursor.take();
  if (token === undefined || token.kind === 'sign')
    throw refusal('DBPROXY_ADMIN_SYNTAX', 'expected an expression');
  const called = token.kind === 'word' && cursor.takeSign('(');
  if (called) cursor.sign(')');
  const written = called ? `${token.text}()` : token.text;
  return { label: parseAlias(cursor) ?? written, expression: expressionOf(token, called) };
}

function expressionOf(token: { kind: string; text: string }, called: boolean): SelectItem['expression'] {
  if (called) return { kind: 'call', name: token.text.toUpperCase() };
  if (token.kind === 'quoted') return { kind: 'constant', value: token.text };
  if (/^\d{1,15}$/.test(token.text)) return { kind: 'constant', value: Number(token.text) };
  if (token.text.toUpperCase() === 'NULL') return { kind: 'constant', value: null };
  const variable = /^@@(?:(?:session|global|local)\.)?(\w+)$/i.exec(token.text);
  if (variable) return { kind: 'variable', name: variable[1]!.toLowerCase() };
  if (/^current_user$/i.test(token.text)) return { kind: 'call', name: 'CURRENT_USER' };
  throw refusal(
    'DBPROXY_ADMIN_SYNTAX',
    `this is the admin port, not a database: it cannot select '${token.text}'; connect to a listener for SQL`,
  );
}

function parseAlias(cursor: Cursor): string | undefined {
  if (cursor.takeWords('AS')) return cursor.name('an alias');
  const token = cursor.peek();
  if (token === undefined || token.kind === 'sign' || /^(limit|from)$/i.test(token.text)) return undefined;
  return cursor.name('an alias');
}
