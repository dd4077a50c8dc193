/**
 * The questions of one check, in as few round trips as can be. What matters most comes first; the tables of our
 * own come last, and may be missing, denied, or locked by somebody: none of that is a failure of the server.
 */
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import type { ControlConnection } from './connection.ts';
import type { Flavour } from './flavour/flavour.ts';
import { numberOf, text, type Row, type Statement } from './flavour/row.ts';
import { readSemiSyncFacts, SEMI_SYNC_QUERY } from './flavour/semi-sync.ts';
import {
  ownOf,
  readBinlogStatus,
  readIdentity,
  readReplicaStatus,
  readUptimeSeconds,
  type Identity,
} from './flavour/status.ts';
import { lastBeat, lastEpoch } from './flavour/tables.ts';
import { recallLog, type Recalled } from './log-memory.ts';
import { isConnectionLost, isDenied, isTimeout, type EpochRow, type ServerFacts } from './observation.ts';

/** A connection together with what its server said it is. */
export interface Acquaintance {
  readonly connection: ControlConnection;
  readonly version: string;
  readonly flavour: Flavour;
  /** The questions that this connection was answered before, though they may be denied: they travel with others. */
  readonly allowed?: Set<Extra>;
  /** What is known of the memory of its server: that begins anew with a restart, and so with a connection. */
  readonly memory?: MemoryOfLog;
}

/** What the log of a server has told on one connection, when it said itself that the state of its log was `history`. */
export interface MemoryOfLog {
  recalled: { readonly history: string; readonly outcome: Recalled } | null;
}

/** Questions that a server may have no answer to. */
export type Extra = 'signs' | 'epoch' | 'beat';

/** What is asked for beside the server itself. */
export type Questions = Pick<ClusterConfig, 'name' | 'lagSource'> & Pick<BackendConfig, 'channel'>;

/** What our own tables said. */
export type OwnRows = Pick<ServerFacts, 'epoch' | 'beat'>;

/** How long a question to our tables may take: a reader waits for nobody there but a change of the table. */
const TABLE_TIMEOUT_MS = 500;

/** How long a question to its binary log may take; a server that does not answer it is well for all else. */
const LOG_TIMEOUT_MS = 500;

/** Asks all questions; rejects when one about the server itself has no answer. */
export async function readFacts(
  acquaintance: Acquaintance,
  questions: Questions,
  known: OwnRows,
  leftMs: () => number,
): Promise<ServerFacts> {
  const { connection, version, flavour } = acquaintance;
  const ofServer = [flavour.identity, flavour.replicaStatus, flavour.status, SEMI_SYNC_QUERY];
  const signs = flavour.receiverSigns === null ? [] : [extra('signs', { sql: flavour.receiverSigns })];
  const { answers, extras } = await askAll(acquaintance, ofServer, signs, leftMs);
  const [identityRows = [], replicas = [], status = [], settings = []] = answers;
  const identity = readIdentity(identityRows);
  const rows = await readOwnRows(acquaintance, questions, known, leftMs);
  const follows = replicas.length > 0;
  return {
    version,
    greeting: connection.greeting,
    connectionId: connection.number,
    uptimeSeconds: readUptimeSeconds(status),
    ...(follows ? identity : await asItsLogTells(acquaintance, identity, leftMs)),
    filePosition: identity.hasGtid
      ? null
      : readBinlogStatus(await connection.run(flavour.binlogStatus, leftMs())),
    semiSync: readSemiSyncFacts(settings, status),
    ...rows,
    replication: readReplicaStatus(
      flavour,
      replicas,
      { status, signs: rowsOf(extras.get('signs')) },
      questions.channel,
    ),
  };
}

/**
 * Of one that follows nobody and is read-only: as long as commits wait for a replica nobody can look into the log. What we
 * are not let see in it nobody needs to know: the server is believed, then.
 */
async function asItsLogTells(
  { connection, flavour, memory }: Acquaintance,
  identity: Identity,
  leftMs: () => number,
): Promise<Identity & Pick<ServerFacts, 'forgotten'>> {
  if (flavour.log === null || !identity.logsChanges || !identity.readOnly) return identity;
  const known = memory?.recalled ?? null;
  const outcome =
    known !== null && (known.outcome.kind === 'agrees' || known.history === identity.history)
      ? known.outcome
      : await recallLog(flavour.log, identity.history, (sql) =>
          connection.run(sql, Math.min(LOG_TIMEOUT_MS, leftMs())),
        ).catch((error: unknown): Recalled => {
          if (isTimeout(error)) return { kind: 'unclear', why: 'its binary log could not be read in time' };
          if (isConnectionLost(error)) throw error;
          return { kind: 'agrees' };
        });
  if (memory !== undefined) memory.recalled = { history: identity.history, outcome };
  const { position, history } = identity;
  switch (outcome.kind) {
    case 'agrees':
      return identity;
    case 'unclear':
      return { ...identity, forgotten: { position, history, why: outcome.why } };
    case 'more':
      return {
        ...identity,
        position: outcome.position,
        history: outcome.history,
        ownTransactions: ownOf(outcome.history, identity.serverId, identity.serverUuid),
        forgotten: { position, history, why: null },
      };
  }
}

interface ExtraQuestion {
  readonly name: Extra;
  readonly statement: Statement;
}

/** Its rows, or the error that the server answered. */
type ExtraAnswer = Row[] | { readonly error: unknown };

function extra(name: Extra, statement: Statement): ExtraQuestion {
  return { name, statement };
}

/** The extras that were answered before go along in the same message; the others, one by one behind it. */
async function askAll(
  acquaintance: Acquaintance,
  sure: readonly string[],
  extras: readonly ExtraQuestion[],
  leftMs: () => number,
): Promise<{ answers: Row[][]; extras: ReadonlyMap<Extra, ExtraAnswer> }> {
  const { connection, allowed = new Set<Extra>() } = acquaintance;
  const along = extras.filter(({ name }) => allowed.has(name));
  const statements = [...sure.map((sql) => ({ sql })), ...along.map(({ statement }) => statement)];
  try {
    const answers = await connection.runAll(statements, leftMs());
    const answered = new Map<Extra, ExtraAnswer>(
      along.map(({ name }, index) => [name, answers[sure.length + index] ?? []]),
    );
    for (const { name, statement } of extras) {
      if (answered.has(name)) continue;
      const answer = await orError(connection.run(statement, leftMs()));
      if (Array.isArray(answer)) allowed.add(name);
      answered.set(name, answer);
    }
    return { answers, extras: answered };
  } catch (error) {
    if (along.length === 0 || isTimeout(error) || isConnectionLost(error)) throw error;
    // One of those that went along is denied by now, or its table is gone.
    for (const { name } of along) allowed.delete(name);
    return askAll(acquaintance, sure, extras, leftMs);
  }
}

/** When our tables do not answer in time, what is known of them stays, and the connection is broken. */
async function readOwnRows(
  acquaintance: Acquaintance,
  { name, lagSource }: Questions,
  known: OwnRows,
  leftMs: () => number,
): Promise<OwnRows> {
  const questions = [
    extra('epoch', lastEpoch(name)),
    ...(lagSource === 'status' ? [] : [extra('beat', lastBeat(name))]),
  ];
  try {
    const { extras } = await askAll(acquaintance, [], questions, () => Math.min(TABLE_TIMEOUT_MS, leftMs()));
    const [epoch] = rowsOf(extras.get('epoch'));
    return { epoch: epoch === undefined ? null : readEpoch(epoch), beat: readBeat(extras.get('beat')) };
  } catch (error) {
    if (isTimeout(error)) return known;
    throw error;
  }
}

/** A replica without the table has not come as far as that. */
function readBeat(answer: ExtraAnswer | undefined): OwnRows['beat'] {
  if (answer === undefined) return null;
  if (Array.isArray(answer)) return { atMs: numberOf(answer[0]?.at_ms) };
  return isDenied(answer.error) ? null : { atMs: null };
}

function readEpoch(row: Row): EpochRow {
  return { epoch: Number(row.epoch), backend: text(row.backend) };
}

/** None when the server answers that it has no such thing, or that it is not for us. */
function rowsOf(answer: ExtraAnswer | undefined): Row[] {
  return Array.isArray(answer) ? answer : [];
}

async function orError(rows: Promise<Row[]>): Promise<ExtraAnswer> {
  try {
    return await rows;
  } catch (error) {
    if (isTimeout(error) || isConnectionLost(error)) throw error;
    return { error };
  }
}
