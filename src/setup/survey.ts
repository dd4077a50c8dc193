/**
 * One server looked at closely, as bootstrap and doctor need it: all its settings and where they come from, what
 * the account may do, its clock. It changes nothing. What a check of the monitor knows (role, positions,
 * replication) is taken from there, so that both see the same.
 */
import type { Clock } from '../base/clock.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import { ControlConnection } from '../monitor/connection.ts';
import { flavourOf, type Flavour } from '../monitor/flavour/flavour.ts';
import { isOn, text, type Row } from '../monitor/flavour/row.ts';
import { setupWordsOf, type SetupWords } from '../monitor/flavour/setup.ts';
import {
  classifyError,
  describeFailure,
  type ProbeErrorKind,
  type ProbeFailure,
  type ServerFacts,
} from '../monitor/observation.ts';
import { Probe } from '../monitor/probe.ts';

/**
 * Where a setting's value comes from. start: a file or the command line, so it is the same after the next start.
 * persisted: the server keeps it itself. default: nobody has set it. runtime: set by SQL since the start, so
 * nobody can tell what the next start brings. unknown: this server does not say.
 */
export type SettingOrigin = 'start' | 'persisted' | 'default' | 'runtime' | 'unknown';

export interface Survey {
  readonly backend: BackendConfig;
  readonly facts: ServerFacts;
  readonly flavour: Flavour;
  readonly words: SetupWords;
  /** All global variables, by name in lower case. */
  readonly variables: ReadonlyMap<string, string>;
  readonly origins: ReadonlyMap<string, SettingOrigin>;
  /** What the server has been told to keep (SET PERSIST), by name; empty where it cannot. */
  readonly persisted: ReadonlyMap<string, string>;
  /** Who we are there: `monitor@%`. */
  readonly account: string;
  readonly grants: readonly string[];
  /** Null when it replicates from nobody. */
  readonly replicatesByGtid: boolean | null;
  /** Connections that read its binary log: its replicas, and whoever else does. */
  readonly followers: number;
  /** The server's clock less ours, in milliseconds; half of the time that asking took is the error. */
  readonly clockAheadMs: number;
}

/** A server that could not be looked at, and why in words. */
export interface Unreached {
  readonly backend: BackendConfig;
  readonly reason: string;
  readonly kind: ProbeErrorKind;
}

export type SurveyResult =
  | { readonly kind: 'seen'; readonly survey: Survey }
  | { readonly kind: 'unreached'; readonly unreached: Unreached };

const FOLLOWERS = "SELECT id AS id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'";

/** Bound of one look, which is some ten statements. */
const LOOK_TIMEOUT_MS = 10_000;

/** Looks at a server as the cluster's monitor_user; never rejects. */
export async function surveyServer(
  backend: BackendConfig,
  cluster: ClusterConfig,
  clock: Clock,
): Promise<SurveyResult> {
  const probe = new Probe(backend, cluster, clock, () => undefined);
  try {
    const observation = await probe.check(LOOK_TIMEOUT_MS);
    if (observation.kind === 'failed') return unreached(backend, observation.failure);
    const connection = await ControlConnection.open(backend, cluster, clock, LOOK_TIMEOUT_MS);
    try {
      return { kind: 'seen', survey: await look(backend, observation.facts, connection, clock) };
    } finally {
      connection.close();
    }
  } catch (error) {
    return unreached(backend, classifyError(error));
  } finally {
    probe.close();
  }
}

/** A variable's value; empty when the server has none of that name. */
export function variable(survey: Survey, name: string): string {
  return survey.variables.get(name.toLowerCase()) ?? '';
}

/** True when the server has a variable and it is on. */
export function variableIsOn(survey: Survey, name: string): boolean {
  return isOn(survey.variables.get(name.toLowerCase()) ?? '');
}

/** It could wait for replicas as a primary at once, and waits for none as long as it is told so. */
export function standsBy(survey: Survey): boolean {
  const { standsBy: can, primarySwitch, waitWithoutReplica } = survey.words.semiSync;
  return can && variableIsOn(survey, primarySwitch) && !variableIsOn(survey, waitWithoutReplica);
}

/** How large a file of its binary log should grow, in bytes; null where that does not matter. What is smaller stays. */
export function wantedLogFile(survey: Survey): number | null {
  const { largestLogFile } = survey.words;
  // From MariaDB 11.4 on an index tells the place of who connects.
  if (largestLogFile === null || variableIsOn(survey, 'binlog_gtid_index')) return null;
  return Math.min(largestLogFile, Number(variable(survey, 'max_binlog_size')));
}

/** What a setting will be after the next start; null when nobody can tell. */
export function valueAtStart(survey: Survey, name: string): string | null {
  const persisted = survey.persisted.get(name);
  if (persisted !== undefined) return persisted;
  switch (survey.origins.get(name)) {
    case 'start':
    case 'persisted':
    case 'default':
      return variable(survey, name);
    case 'runtime':
    case 'unknown':
    case undefined:
      return null;
  }
}

async function look(
  backend: BackendConfig,
  facts: ServerFacts,
  connection: ControlConnection,
  clock: Clock,
): Promise<Survey> {
  const ask = (sql: string): Promise<Row[]> => connection.run(sql, LOOK_TIMEOUT_MS);
  const variables = byName(await ask('SHOW GLOBAL VARIABLES'), 'Variable_name', 'Value');
  const words = setupWordsOf(facts.version, (name) => variables.has(name));
  const [who] = await ask('SELECT CURRENT_USER() AS account');
  const grants = await ask('SHOW GRANTS');
  const flavour = flavourOf(facts.version);
  const replicas = await ask(flavour.replicaStatus);
  return {
    backend,
    facts,
    flavour,
    words,
    variables,
    ...(await originsOf(words, ask)),
    account: text(who?.account),
    grants: grants.map((row) => text(Object.values(row)[0])),
    replicatesByGtid: replicas.length === 0 ? null : replicas.every(isByGtid),
    followers: (await ask(FOLLOWERS)).length,
    clockAheadMs: await clockAhead(ask, clock),
  };
}

/** One says Slave_Pos, Current_Pos or No, the other 1 or 0. */
function isByGtid(row: Row): boolean {
  return isOn(row.Using_Gtid ?? row.Auto_Position);
}

/** MySQL from 8.0 on and MariaDB from 10.1 on tell where a value is from; the others do not. */
async function originsOf(
  { family, persists }: SetupWords,
  ask: (sql: string) => Promise<Row[]>,
): Promise<Pick<Survey, 'origins' | 'persisted'>> {
  const nothing = new Map<string, string>();
  if (family === 'mysql' && !persists) return { origins: new Map(), persisted: nothing };
  const rows = await ask(
    family === 'mariadb'
      ? 'SELECT variable_name AS name, global_value_origin AS origin FROM information_schema.system_variables'
      : 'SELECT variable_name AS name, variable_source AS origin FROM performance_schema.variables_info',
  );
  const origins = new Map(
    rows.map((row) => [text(row.name).toLowerCase(), originOf(text(row.origin))] as const),
  );
  if (family === 'mariadb') return { origins, persisted: nothing };
  const kept = await ask(
    'SELECT variable_name AS name, variable_value AS value FROM performance_schema.persisted_variables',
  );
  return { origins, persisted: byName(kept, 'name', 'value') };
}

/** https://mariadb.com/kb/en/information-schema-system_variables-table/ and MySQL's table variables_info. */
function originOf(word: string): SettingOrigin {
  switch (word.toUpperCase()) {
    case 'SQL':
    case 'DYNAMIC':
      return 'runtime';
    case 'COMPILE-TIME':
    case 'COMPILED':
    case 'AUTO':
      return 'default';
    case 'PERSISTED':
      return 'persisted';
    default:
      return 'start';
  }
}

async function clockAhead(ask: (sql: string) => Promise<Row[]>, clock: Clock): Promise<number> {
  const beforeMs = clock.wallMs();
  const [row] = await ask('SELECT UNIX_TIMESTAMP(NOW(3)) * 1000 AS now_ms');
  return Number(row?.now_ms) - (beforeMs + clock.wallMs()) / 2;
}

function byName(rows: readonly Row[], name: string, value: string): Map<string, string> {
  return new Map(rows.map((row) => [text(row[name]).toLowerCase(), text(row[value])]));
}

function unreached(backend: BackendConfig, failure: ProbeFailure): SurveyResult {
  const reason = describeFailure(failure);
  return { kind: 'unreached', unreached: { backend, reason, kind: failure.kind } };
}
