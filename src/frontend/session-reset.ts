/**
 * COM_RESET_CONNECTION of a session that changes connections: one of its connections is reset, and the session
 * begins anew as that connection is then. What is in force on it is read back.
 */
import type { BackendConnection, LoginOk } from '../backend/connection.ts';
import { initialSettings } from '../backend/wish.ts';
import type { Settings } from '../backend/settings.ts';
import { ServerError } from '../protocol/packets.ts';
import type { Aftermath } from './aftermath.ts';
import type { Attachment } from './attachment.ts';
import type { SessionRequest } from './session-request.ts';
import type { SessionChanges } from './session-changes.ts';
import type { SessionConnections } from './session-connections.ts';
import type { SessionRecord } from './session-record.ts';
import type { StatementCommands } from './statement-commands.ts';

/** The session that begins anew, in its parts. */
export interface ResetParts {
  readonly record: SessionRecord;
  readonly connections: SessionConnections;
  readonly attachment: Attachment;
  readonly aftermath: Aftermath;
  readonly changes: SessionChanges;
  readonly prepared: StatementCommands;
  readonly host: {
    readonly request: SessionRequest;
    /** Ends the session with an error. */
    fail(error: unknown): void;
    isOver(): boolean;
  };
}

/** Payload of the server's OK. Rejects as BackendConnection.reset does. */
export async function resetSession(parts: ResetParts): Promise<Buffer> {
  const { attachment, connections, host } = parts;
  await attachment.settled();
  const pinned = attachment.connection;
  const connection = pinned ?? (await connections.obtain('home'));
  attachment.detach();
  let ok: LoginOk;
  try {
    // A reset leaves the database as it is: that of the session must be there.
    if (pinned === null) await connections.bring(connection, firstSettings(parts));
    ok = await connection.reset(connection.preparation.readOnly);
  } catch (error) {
    // MySQL 5.6 does not know the command: all is as it was.
    const isWhole = error instanceof ServerError && !connection.closed && !host.isOver();
    if (pinned !== null && connection.closed) host.fail(error);
    if (!isWhole) connections.discard(connection, false);
    else if (pinned !== null) attachment.attach(connection);
    else connections.leave(connection, false);
    throw error;
  }
  try {
    await beginAnew(parts, connection);
  } catch (error) {
    // What the session is set to now nobody knows.
    connections.discard(connection, false);
    host.fail(error);
    throw error;
  }
  connections.leave(connection, false);
  return ok.payload;
}

/** What the session is set to after a reset. */
function firstSettings({ record, host }: ResetParts): Settings {
  return initialSettings(host.request.preparation).withDatabase(record.settings.database);
}

/** MariaDB keeps the database in a reset, and forgets its character set, which whoever comes next counts on. */
async function selectAgain(connection: BackendConnection, database: string): Promise<void> {
  try {
    await connection.selectDatabase(Buffer.from(database, 'latin1'));
  } catch (error) {
    // Somebody has dropped it: the session has it as directly, by its name alone.
    if (!(error instanceof ServerError)) throw error;
  }
}

/** After a reset on this connection. */
async function beginAnew(parts: ResetParts, connection: BackendConnection): Promise<void> {
  const { record, connections, prepared, changes, aftermath } = parts;
  const settings = firstSettings(parts);
  if (record.dialect.isMariaDb && settings.database !== '') await selectAgain(connection, settings.database);
  prepared.clear();
  connection.prepared.clear();
  connection.lastInserter = null;
  connection.settings = settings;
  connections.insertId.reset();
  record.reset(settings);
  changes.forget();
  await changes.readCharacterSets(connection);
  aftermath.begunAnew(connection);
}
