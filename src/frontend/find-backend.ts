/**
 * From a login to a backend connection: asks the router and the pool until there is one, within
 * queue_timeout. A read that finds its replica dead tries another one; with nowhere to go the session waits
 * for a better snapshot.
 */
import { isRefusal, refusal, type ProxyError } from '../base/errors.ts';
import type { BackendConnection } from '../backend/connection.ts';
import { Identity, initialSettings, SETTING_FLAGS } from '../backend/wish.ts';
import type { AcceptedLogin } from '../protocol/login-server.ts';
import { ServerError } from '../protocol/packets.ts';
import { maySessionBegin, route } from '../routing/router.ts';
import { accountName, fingerprintOf } from '../topology/account.ts';
import { sessionAttributes } from './attributes.ts';
import type { SessionContext, SessionEndpoint } from './context.ts';
import { RELAYED_CAPABILITIES, RELAYED_EXTENDED } from './offer.ts';
import type { SessionRequest } from './session-request.ts';
import type { KnownUser } from './users.ts';

/** How long the control plane may take to doubt a primary that has refused us. */
const DOUBT_MS = 1_000;

/**
 * Resolves with a connection in the session's first state, lent by its pool. `isOver` ends the waiting when
 * the client has gone. Rejects with ServerError (a server refused the session), PasswordNeeded,
 * DBPROXY_BACKEND_CONNECT, DBPROXY_QUEUE_TIMEOUT, DBPROXY_NO_PRIMARY or DBPROXY_NO_READABLE.
 */
export async function findBackend(
  context: SessionContext,
  endpoint: SessionEndpoint,
  request: SessionRequest,
  isOver: () => boolean,
): Promise<BackendConnection> {
  const { clock } = context;
  const { config, credits } = endpoint;
  const deadlineMs = clock.nowMs() + config.queueTimeoutMs;
  const failed = new Set<string>();
  let failure: Error | undefined;
  for (;;) {
    const chosen = route(context.snapshot(), config, credits, (name) => context.sessionsOn(name), failed);
    const leftMs = deadlineMs - clock.nowMs();
    if (chosen.backend !== null) {
      try {
        const pool = context.pool(chosen.backend.name);
        const connection = await pool.acquire({
          ...request,
          ...(endpoint.shared !== null && { settings: initialSettings(request.preparation) }),
          timeoutMs: Math.max(1, leftMs),
        });
        if (maySessionBegin(context.snapshot(), config, connection.backend)) return connection;
        pool.release(connection, true);
      } catch (error) {
        if (isRefusedLogin(error)) throw explained(error, chosen.backend.name, request.identity.user);
        if (!isRefusal(error) || error.code !== 'DBPROXY_BACKEND_CONNECT') throw error;
        if (config.mode === 'read') {
          failure = error;
          failed.add(chosen.backend.name);
        } else if (!(await isDoubted(chosen.backend.name, context, deadlineMs))) throw error;
      }
    } else if (failure !== undefined) {
      throw failure;
    } else if (leftMs <= 0 || isOver()) {
      const code = config.mode === 'read' ? 'DBPROXY_NO_READABLE' : 'DBPROXY_NO_PRIMARY';
      throw refusal(code, config.cluster, chosen.reason, config.queueTimeoutMs);
    } else {
      await context.nextSnapshot(leftMs);
    }
  }
}

/**
 * The primary has not let us connect. It may have died a moment ago, and another one take over in the next: who comes
 * now waits as everybody does. One that the control plane goes on finding well is only closed to us.
 */
async function isDoubted(backend: string, context: SessionContext, deadlineMs: number): Promise<boolean> {
  const leftMs = deadlineMs - context.clock.nowMs();
  if (leftMs <= 0) return false;
  await context.nextSnapshot(Math.min(leftMs, DOUBT_MS));
  return context.snapshot().backends.find(({ name }) => name === backend)?.state !== 'online';
}

/**
 * What a session of `login` asks of a pool; `client` is where it comes from. A session that has changed its
 * user has no settings of its flags any more.
 */
export function sessionRequest(
  endpoint: SessionEndpoint,
  login: AcceptedLogin,
  user: KnownUser,
  client: { readonly address: string; readonly port: number },
  isFirstLogin: boolean,
): SessionRequest {
  const capabilities = (login.capabilities & RELAYED_CAPABILITIES) >>> 0;
  return {
    identity: new Identity({
      user: login.user,
      account: accountOf(user),
      capabilities,
      extendedCapabilities: login.extendedCapabilities & RELAYED_EXTENDED,
      client: { address: client.address, port: client.port },
    }),
    secret: login.secret,
    findPassword: () => user.rememberedPassword(),
    // Only a password that the configuration holds anyway stays with the connection, for its resets.
    keepsPassword: user.secret.password !== undefined,
    preparation: {
      database: login.database,
      collation: login.collation,
      readOnly: endpoint.config.mode === 'read',
      attributes: sessionAttributes(login.attributes, client.address),
      settingFlags: isFirstLogin ? capabilities & SETTING_FLAGS : 0,
    },
  };
}

/** See Identity.account. A user of the configuration alone has one secret as long as dbproxy runs. */
function accountOf({ account }: KnownUser): string {
  return account === null ? '' : `${accountName(account)} ${fingerprintOf(account)}`;
}

/** 1045: access denied. 2059: it asks for a plugin that is not here, as servers do of users they do not know. */
export function isRefusedLogin(error: unknown): error is ServerError {
  return error instanceof ServerError && (error.packet.errno === 1045 || error.packet.errno === 2059);
}

/** The client has proved itself here, so what the server misses is to be looked for on the way to it. */
export function explained(error: ServerError, backend: string, user: string): ProxyError {
  const hint =
    'the server sees the address of dbproxy: is there an account for it, and does it require TLS? See tls and proxy_protocol of the backend';
  return refusal('DBPROXY_BACKEND_LOGIN', backend, user, `${error.packet.message} (${hint})`);
}
