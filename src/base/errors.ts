/**
 * The one catalogue of errors. Every refusal that a client or an operator sees is a row here: a stable
 * code, the MySQL error number and SQLSTATE it travels with, and a sentence that says what was refused,
 * why, and what to do. docs/errors.md lists the same rows (a test compares the two). A retired code is
 * never used again.
 */
import createError from '@fastify/error';

/** One row: `message` has printf places (%s) that the constructor's arguments fill. */
interface ErrorRow {
  errno: number;
  sqlState: string;
  message: string;
}

const catalogue = {
  // Login and limits
  DBPROXY_ACCESS_DENIED: {
    errno: 1045,
    sqlState: '28000',
    message: "Access denied for user '%s'@'%s' (using password: %s)",
  },
  DBPROXY_ACCOUNT_UNSERVABLE: {
    errno: 1045,
    sqlState: '28000',
    message: "Access denied for user '%s'@'%s': dbproxy cannot serve this account, because %s",
  },
  DBPROXY_ACCOUNTS_UNREAD: {
    errno: 1040,
    sqlState: '08004',
    message:
      "dbproxy has not read the accounts of cluster '%s' yet, so it cannot tell who may log in; try again, and see users.import_failed in its log when it stays so",
  },
  DBPROXY_ACCOUNT_LOCKED: {
    errno: 3118,
    sqlState: 'HY000',
    message: "Access denied for user '%s'@'%s'. Account is locked.",
  },
  DBPROXY_ACCOUNT_LOCKED_MARIADB: {
    errno: 4151,
    sqlState: 'HY000',
    message: 'Access denied, this account is locked',
  },
  DBPROXY_PASSWORD_EXPIRED: {
    errno: 1862,
    sqlState: 'HY000',
    message:
      'Your password has expired. To log in you must change it using a client that supports expired passwords, connected to the server itself',
  },
  DBPROXY_ADDRESS_NOT_ALLOWED: {
    errno: 1130,
    sqlState: 'HY000',
    message: "Host '%s' is not allowed to connect to dbproxy's %s; add it to 'allow' there",
  },
  DBPROXY_TOO_MANY_CONNECTIONS: {
    errno: 1040,
    sqlState: '08004',
    message: 'Too many connections: %s has reached max_connections = %s; raise it or close some',
  },
  DBPROXY_USER_CONNECTIONS: {
    errno: 1226,
    sqlState: '42000',
    message: "User '%s' has exceeded the 'max_connections' resource (current value: %s)",
  },
  DBPROXY_HANDSHAKE: { errno: 1043, sqlState: '08S01', message: 'Bad handshake: %s' },
  DBPROXY_HANDSHAKE_TIMEOUT: {
    errno: 1159,
    sqlState: '08S01',
    message: 'Login was not finished within handshake_timeout (%s ms)',
  },
  DBPROXY_OLD_CLIENT: {
    errno: 1251,
    sqlState: '08004',
    message:
      'Client speaks a protocol older than 4.1 (or has no secure authentication), which dbproxy does not serve; upgrade the client',
  },
  DBPROXY_AUTH_PLUGIN: {
    errno: 1251,
    sqlState: '08004',
    message:
      "Client does not support the authentication that user '%s' needs here (%s), as it cannot change plugins; upgrade the client",
  },
  DBPROXY_TLS_REQUIRED: {
    errno: 3159,
    sqlState: 'HY000',
    message: 'Connections using insecure transport are prohibited here (tls = required); connect with TLS',
  },
  DBPROXY_INSECURE_LOGIN: {
    errno: 3159,
    sqlState: 'HY000',
    message:
      "User '%s' cannot log in over a connection that others may read: %s; connect with TLS, or by the Unix socket",
  },
  DBPROXY_TLS: { errno: 2026, sqlState: 'HY000', message: 'TLS with %s failed: %s' },
  DBPROXY_PROXY_HEADER: { errno: 1043, sqlState: '08S01', message: 'Bad PROXY protocol header: %s' },
  // Packets
  DBPROXY_PACKET_TOO_LARGE: {
    errno: 1153,
    sqlState: '08S01',
    message: 'Got a packet bigger than %s bytes, the limit here',
  },
  DBPROXY_PACKET_OUT_OF_ORDER: {
    errno: 1156,
    sqlState: '08S01',
    message: 'Got packets out of order',
  },
  DBPROXY_MALFORMED_PACKET: { errno: 1835, sqlState: 'HY000', message: 'Malformed communication packet: %s' },
  DBPROXY_COMPRESSED_PACKET: {
    errno: 1157,
    sqlState: '08S01',
    message: "Couldn't uncompress communication packet: %s",
  },
  DBPROXY_UNKNOWN_COMMAND: { errno: 1047, sqlState: '08S01', message: 'Unknown command' },
  // Routing and pool
  DBPROXY_NO_PRIMARY: {
    errno: 1290,
    sqlState: 'HY000',
    message: "No primary in cluster '%s' can take writes: %s; gave up after queue_timeout (%s ms)",
  },
  DBPROXY_NO_READABLE: {
    errno: 1290,
    sqlState: 'HY000',
    message: "No server of cluster '%s' can take reads: %s; gave up after queue_timeout (%s ms)",
  },
  DBPROXY_QUEUE_TIMEOUT: {
    errno: 1040,
    sqlState: '08004',
    message:
      "No connection to backend '%s' became free within queue_timeout (%s ms): max_connections = %s are in use",
  },
  DBPROXY_BACKEND_CONNECT: {
    errno: 1429,
    sqlState: 'HY000',
    message: "Can't connect to backend '%s' (%s): %s",
  },
  DBPROXY_BACKEND_LOST: {
    errno: 1158,
    sqlState: '08S01',
    message: "Lost connection to backend '%s' during query: %s",
  },
  DBPROXY_WRITES_HELD: {
    errno: 1205,
    sqlState: 'HY000',
    message:
      "The primary of cluster '%s' is being changed, and this statement has waited as long as hold_timeout allows (%s ms); nothing of it was run: send it again",
  },
  DBPROXY_TRANSACTION_LOST: {
    errno: 1213,
    sqlState: '40001',
    message:
      'The transaction was rolled back (%s): nothing of it has taken effect; run it again from its beginning',
  },
  DBPROXY_OUTCOME_UNKNOWN: {
    errno: 1180,
    sqlState: '08007',
    message:
      "The connection to backend '%s' was lost (%s) before the answer came, and whether this statement has taken effect is not known (%s); look at the data before it is run again",
  },
  DBPROXY_ANSWER_LOST: {
    errno: 1158,
    sqlState: '08S01',
    message:
      "This statement has taken effect (%s), but its answer was lost together with backend '%s', and with it how many rows it has changed; do not run it again",
  },
  DBPROXY_LONG_DATA_LOST: {
    errno: 1158,
    sqlState: '08S01',
    message:
      'Parameters of this prepared statement that had been sent in advance were lost when the session changed its connection, and nothing of it was run; send them again, and execute it',
  },
  DBPROXY_STATE_LOST: {
    errno: 1053,
    sqlState: '08S01',
    message: 'This session cannot go on at another server (%s), because there it had %s%s; connect again',
  },
  DBPROXY_BACKEND_LOGIN: { errno: 1045, sqlState: '28000', message: "Backend '%s' refused user '%s': %s" },
  DBPROXY_READ_ENDPOINT: {
    errno: 1290,
    sqlState: 'HY000',
    message:
      "Listener '%s' is a read endpoint, so it cannot execute this statement (%s); use the write endpoint",
  },
  DBPROXY_SESSION_ENDED: {
    errno: 1053,
    sqlState: '08S01',
    message: 'dbproxy ended this session: %s; connect again',
  },
  DBPROXY_ADDRESS_LEFT: {
    errno: 1053,
    sqlState: '08S01',
    message:
      "dbproxy ended this session: the address of listener '%s' (%s) has left this host and was not back within drain_timeout (%s ms); connect again",
  },
  DBPROXY_SESSION_KILLED: {
    errno: 1927,
    sqlState: '70100',
    message: 'Connection was killed by an operator of dbproxy',
  },
  DBPROXY_IDLE_TIMEOUT: {
    errno: 4031,
    sqlState: 'HY000',
    message: 'The client was disconnected by dbproxy because of inactivity (idle_timeout = %s ms)',
  },
  DBPROXY_SHUTDOWN: { errno: 1053, sqlState: '08S01', message: 'dbproxy is shutting down' },
  DBPROXY_PREPARED_STATEMENTS: {
    errno: 1461,
    sqlState: '42000',
    message:
      "Can't create more than max_prepared_statements = %s prepared statements in one session; close some, or raise it at the listener",
  },
  DBPROXY_UNKNOWN_PREPARED: {
    errno: 1243,
    sqlState: 'HY000',
    message: 'Unknown prepared statement handler (%s) given to %s',
  },
  DBPROXY_NO_CURSOR: { errno: 1421, sqlState: 'HY000', message: 'The statement (%s) has no open cursor%s' },
  DBPROXY_PREPARED_BEFORE: {
    errno: 1615,
    sqlState: 'HY000',
    message:
      'Prepared statement needs to be re-prepared: (%s) was prepared under another sql_mode or character set, and this connection does not know it; prepare it again, or run it outside of the transaction',
  },
  DBPROXY_STATE_GONE: {
    errno: 1235,
    sqlState: '42000',
    message:
      '%s belongs to the statement before, and its connection has served something else since; ask in the same packet or transaction, or give the listener pool = session',
  },
  DBPROXY_READ_ONLY_TRANSACTION: {
    errno: 1235,
    sqlState: '42000',
    message:
      'This READ ONLY transaction runs on a replica, where %s cannot be; end it, and begin it with the comment /* dbproxy: primary */',
  },
  DBPROXY_NOT_OWNER: {
    errno: 1095,
    sqlState: 'HY000',
    message: 'You are not owner of thread %s; as its user, or on the admin port of dbproxy, you can end it',
  },
  DBPROXY_NO_SUCH_THREAD: { errno: 1094, sqlState: 'HY000', message: 'Unknown thread id: %s' },
  DBPROXY_NOT_AVAILABLE: {
    errno: 1235,
    sqlState: '42000',
    message: '%s is not available in this version of dbproxy',
  },
  // Admin port
  DBPROXY_ADMIN_SYNTAX: { errno: 1064, sqlState: '42000', message: 'dbproxy admin: %s; see SHOW HELP' },
  DBPROXY_ADMIN_UNKNOWN_OBJECT: {
    errno: 1146,
    sqlState: '42S02',
    message: "dbproxy admin: there is no %s '%s'; known: %s",
  },
  DBPROXY_ADMIN_BAD_VALUE: {
    errno: 1231,
    sqlState: '42000',
    message: "dbproxy admin: %s = '%s' is not possible: %s",
  },
  DBPROXY_ADMIN_NO_ANSWER: {
    errno: 1105,
    sqlState: 'HY000',
    message:
      'dbproxy admin: %s did not answer within %s ms; try again, and see the log for worker.exited when it stays so',
  },
  // Promotion
  DBPROXY_ADMIN_NOT_ALLOWED: {
    errno: 1227,
    sqlState: '42000',
    message: "Access denied: user '%s' may not say %s on the admin port",
  },
  DBPROXY_NOT_IN_CHARGE: {
    errno: 1290,
    sqlState: 'HY000',
    message: 'This dbproxy is not in charge, and nothing was changed: %s',
  },
  DBPROXY_PROMOTE_REFUSED: {
    errno: 1290,
    sqlState: 'HY000',
    message: '%s was refused and nothing was changed: %s',
  },
  DBPROXY_PROMOTE_FAILED: {
    errno: 1105,
    sqlState: 'HY000',
    message: "%s failed at step '%s': %s; %s",
  },
  DBPROXY_BINLOG_UNREAD: {
    errno: 1236,
    sqlState: 'HY000',
    message:
      "The transactions that only '%s' has could not be told, and nothing was changed: %s; see docs/lost-transactions.md",
  },
  // Setting up servers
  DBPROXY_SETUP_REFUSED: {
    errno: 1290,
    sqlState: 'HY000',
    message: '%s was refused and nothing was changed: %s',
  },
  DBPROXY_SETUP_FAILED: {
    errno: 1105,
    sqlState: 'HY000',
    message: "%s failed at step '%s': %s; %s",
  },
  DBPROXY_REJOIN_REFUSED: {
    errno: 1290,
    sqlState: 'HY000',
    message: 'REJOIN %s was refused: %s',
  },
  DBPROXY_REJOIN_FAILED: {
    errno: 1105,
    sqlState: 'HY000',
    message: "REJOIN %s failed at step '%s': %s; the server stays read-only and takes no traffic",
  },
  // State file
  DBPROXY_STATE_FILE: {
    errno: 1026,
    sqlState: 'HY000',
    message:
      "State file '%s' could not be written, so nothing was changed: %s; free space or mend the directory and try again",
  },
  DBPROXY_STATE_UNREADABLE: {
    errno: 1105,
    sqlState: 'HY000',
    message:
      "State file '%s' cannot be used: %s; it holds who the primary is, so restore it, or remove it after making sure that exactly one server is writable",
  },
  // Configuration and command line
  DBPROXY_CONFIG: { errno: 1105, sqlState: 'HY000', message: 'Configuration has errors:\n%s' },
  DBPROXY_PORT_IN_USE: {
    errno: 1105,
    sqlState: 'HY000',
    message: 'Port %s on 127.0.0.1 is taken, and %s needs it; stop what listens there and try again',
  },
  DBPROXY_DEMO_RUNNING: {
    errno: 1105,
    sqlState: 'HY000',
    message: 'The demo in %s is running already, as process %s; stop that one first',
  },
  DBPROXY_PROGRAM_MISSING: {
    errno: 1105,
    sqlState: 'HY000',
    message: 'The program %s is not on this machine; install it with: %s',
  },
  DBPROXY_DEMO_SERVER: { errno: 1105, sqlState: 'HY000', message: "Server '%s' %s; see its log, %s" },
} as const satisfies Record<string, ErrorRow>;

/** Stable code of an error. */
export type ErrorCode = keyof typeof catalogue;

/** An error of the catalogue: what `refusal` makes. */
export interface ProxyError extends Error {
  code: ErrorCode;
  /** MySQL error number of the ERR packet. */
  errno: number;
  /** Five characters, without the `#`. */
  sqlState: string;
}

const classes = Object.fromEntries(
  Object.entries(catalogue).map(([code, row]) => [code, createError(code, row.message)]),
) as unknown as Record<ErrorCode, new (...parts: (string | number)[]) => Error>;

/** Makes the error `code`, its places filled with `parts`. */
export function refusal(code: ErrorCode, ...parts: (string | number)[]): ProxyError {
  const row = catalogue[code];
  return Object.assign(new classes[code](...parts), { code, errno: row.errno, sqlState: row.sqlState });
}

/** True for an error of the catalogue. */
export function isRefusal(error: unknown): error is ProxyError {
  return (
    error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code in catalogue
  );
}

/** All rows, for the documentation test. */
export function errorRows(): { code: ErrorCode; errno: number; sqlState: string; message: string }[] {
  return Object.entries(catalogue).map(([code, row]) => ({ code: code as ErrorCode, ...row }));
}
