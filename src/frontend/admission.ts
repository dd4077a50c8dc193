/**
 * How a server lets a session in whose client has proved who it is. One that keeps its connection gets it here; of
 * one that changes connections a server is asked once what it says to such a login, and the next login of the same
 * kind is told the same without asking.
 */
import type { BackendConnection } from '../backend/connection.ts';
import { initialSettings } from '../backend/wish.ts';
import type { SessionContext, SessionEndpoint, SharedEndpoint } from './context.ts';
import { findBackend } from './find-backend.ts';
import type { SessionRequest } from './session-request.ts';
import { flagsOf, loginKey, type KnownLogin } from './known-logins.ts';
import { maySessionBegin } from '../routing/router.ts';

/** Identities that are known to have been introduced; then all are introduced again. */
const MOST_INTRODUCED = 1000;

/** A connection for the life of a session; null when that is over meanwhile. Rejects as `findBackend` does. */
export async function obtainConnection(
  context: SessionContext,
  endpoint: SessionEndpoint,
  request: SessionRequest,
  isOver: () => boolean,
): Promise<BackendConnection | null> {
  const connection = await findBackend(context, endpoint, request, isOver);
  if (!isOver()) return connection;
  context.pool(connection.backend).release(connection, true);
  return null;
}

/** What a server has said to a login, and the connection that the session begins with. */
export interface FirstHome {
  readonly login: KnownLogin;
  /** Null when another server is becoming the primary just now: the first statement finds one. */
  readonly connection: BackendConnection | null;
}

/** The same for a session that keeps its connection as long as its server is the primary. */
export async function obtainHome(
  context: SessionContext,
  endpoint: SessionEndpoint,
  request: SessionRequest,
  isOver: () => boolean,
): Promise<FirstHome | null> {
  const connection = await obtainConnection(context, endpoint, request, isOver);
  if (connection === null) return null;
  const login = await askLogin(context, connection, request);
  const mayStay = !isOver() && maySessionBegin(context.snapshot(), endpoint.config, connection.backend);
  if (mayStay) return { login, connection };
  context.pool(connection.backend).giveBack(connection);
  return isOver() ? null : { login, connection: null };
}

/** What a server says to the login of a session that changes connections; null when that is over meanwhile. */
export async function obtainLogin(
  context: SessionContext,
  endpoint: SessionEndpoint,
  shared: SharedEndpoint,
  request: SessionRequest,
  isOver: () => boolean,
): Promise<KnownLogin | null> {
  const known = shared.logins.find(loginKey(request));
  if (known !== undefined) return known;
  const connection = await obtainConnection(context, endpoint, request, isOver);
  if (connection === null) return null;
  const login = await askLogin(context, connection, request);
  context.pool(connection.backend).giveBack(connection);
  shared.logins.keep(loginKey(request), login);
  return isOver() ? null : login;
}

/** A connection that was obtained for it shows that the server lets the session in, and with which database. */
async function askLogin(
  context: SessionContext,
  connection: BackendConnection,
  request: SessionRequest,
): Promise<KnownLogin> {
  const pool = context.pool(connection.backend);
  const isLike = connection.preparation.database === request.preparation.database;
  try {
    // What the server says at a login it says again at a change of user.
    if (connection.worn || !isLike) await connection.prepare(request.preparation);
  } catch (error) {
    pool.release(connection, false);
    throw error;
  }
  return { payload: connection.loginOk.payload, flags: flagsOf(connection) };
}

/**
 * Servers know some accounts by a hash that they make at a login with the clear password. While it is at hand,
 * each replica gets one.
 */
export function introduceToReplicas(
  context: SessionContext,
  endpoint: SessionEndpoint,
  shared: SharedEndpoint,
  request: SessionRequest,
): void {
  const { config } = endpoint;
  const key = request.identity.key;
  if (!shared.passwords.has(key) && shared.introduced.has(key)) return;
  shared.passwords.delete(key);
  if (shared.introduced.size >= MOST_INTRODUCED) shared.introduced.clear();
  shared.introduced.add(key);
  const preparation = { ...request.preparation, readOnly: true };
  const settings = initialSettings(preparation);
  const wish = { ...request, preparation, settings, timeoutMs: config.queueTimeoutMs };
  for (const { name, cluster, readable } of context.snapshot().backends) {
    if (cluster !== config.cluster || !readable) continue;
    const pool = context.pool(name);
    pool.acquire(wish).then(
      (connection) => pool.giveBack(connection),
      (error: unknown) =>
        context.log.debug('session.not_introduced', { backend: name, error: String(error) }),
    );
  }
}
