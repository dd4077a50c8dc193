/**
 * The table of `proxy.conf`: one row a key, holding all there is to know of it. The loader, `SHOW CONFIG`
 * and the documentation read this table and know nothing of single keys.
 *
 * A key of the contract whose feature this version does not have is in the table too, so that it is
 * refused by its name when a file writes it, and never silently accepted. Where the contract's default is
 * such a value, this version's default is the nearest one it has (`contractDefault` then names the other).
 */

/** Kinds of sections, the word after `[`. */
export type SectionKind =
  'dbproxy' | 'admin' | 'http' | 'cluster' | 'backend' | 'listener' | 'user' | 'rule' | 'peer' | 'keepalived';

/** What a value may be; `values.ts` reads and writes each. */
export type ValueType =
  | { kind: 'string'; pattern?: RegExp; looksLike?: string }
  | { kind: 'path' }
  /** A password or hash: may come from `key_file = path` or `env:NAME`, is never shown. */
  | { kind: 'secret'; pattern?: RegExp; looksLike?: string }
  | { kind: 'integer'; min: number; max: number; word?: string }
  | { kind: 'duration'; minMs: number }
  | { kind: 'boolean' }
  | { kind: 'choice'; values: readonly string[] }
  | { kind: 'endpoint' }
  /** Several, comma-separated. */
  | { kind: 'endpoints' }
  | { kind: 'networks' }
  /** IP addresses, comma-separated when `many`; each with `/PREFIX` when it is one of a network's. */
  | { kind: 'ip'; many: boolean; prefix: boolean }
  /** Of a statement: 0x and 16 hexadecimal digits, as SHOW DIGESTS writes it. */
  | { kind: 'digest' }
  /** Third parties to ask, comma-separated; `arbiter.ts` reads one. */
  | { kind: 'arbiters' }
  /** Names of other sections of that kind, comma-separated when `many`. */
  | { kind: 'reference'; to: SectionKind; many: boolean };

/** Which part of a key this version has: all of it, or these values. */
export type Availability = 'all' | readonly string[];

/** One key of the file. */
export interface KeyRow {
  section: SectionKind;
  name: string;
  type: ValueType;
  /** As a file would write it; undefined when there is none or it is worked out (`defaultHelp`). */
  default: string | undefined;
  required: boolean;
  /** Can change while dbproxy runs; the others need a restart. */
  reloadable: boolean;
  availability: Availability;
  /** The contract's default, where this version's is another. */
  contractDefault?: string;
  /** Says where the default comes from when it is not a constant. */
  defaultHelp?: string;
  help: string;
}

/** One kind of section. */
export interface SectionRow {
  kind: SectionKind;
  /** `[kind name]`, any number of them; otherwise `[kind]`, at most once. */
  named: boolean;
  help: string;
}

/** All kinds of sections. */
export const sectionRows: readonly SectionRow[] = [
  { kind: 'dbproxy', named: false, help: 'the process itself' },
  { kind: 'admin', named: false, help: 'the admin port (MySQL protocol)' },
  { kind: 'http', named: false, help: 'metrics and health' },
  { kind: 'cluster', named: true, help: 'servers that replicate one data set' },
  { kind: 'backend', named: true, help: 'one MySQL or MariaDB server' },
  { kind: 'listener', named: true, help: 'an address that applications connect to' },
  { kind: 'user', named: true, help: 'an account that applications log in with' },
  { kind: 'rule', named: true, help: 'where some statements of split listeners go' },
  { kind: 'peer', named: false, help: 'the other dbproxy of the pair' },
  { kind: 'keepalived', named: false, help: 'the virtual addresses of the pair' },
];

const LOOPBACK = '127.0.0.0/8, ::1';
const MAX_CONNECTIONS = 1_000_000;
const MAX_WEIGHT = 10_000;
const MAX_DIGESTS = 100_000;
/** As many as a server allows over all its sessions, unless it is told otherwise (max_prepared_stmt_count). */
const MAX_PREPARED = 16_382;

/** What keepalived takes as a name or a path without quoting. */
const KEEPALIVED_WORD = /^[A-Za-z0-9_.-]{1,64}$/;

type Given = Partial<Omit<KeyRow, 'section' | 'name' | 'type' | 'help'>>;

/** A row with what most rows have in common. */
function key(section: SectionKind, name: string, type: ValueType, help: string, given: Given = {}): KeyRow {
  return {
    section,
    name,
    type,
    default: undefined,
    required: false,
    reloadable: false,
    availability: 'all',
    ...given,
    help,
  };
}

/** A row of which this version has only the `only` value. */
function onlyValue(
  section: SectionKind,
  name: string,
  contract: { values: readonly string[] | 'on or off'; default: string },
  only: string,
  help: string,
): KeyRow {
  const other = contract.default === only ? {} : { contractDefault: contract.default };
  const type: ValueType =
    contract.values === 'on or off' ? { kind: 'boolean' } : { kind: 'choice', values: contract.values };
  return key(section, name, type, help, { default: only, availability: [only], ...other });
}

const text: ValueType = { kind: 'string' };
const path: ValueType = { kind: 'path' };
const secret: ValueType = { kind: 'secret' };
const endpoint: ValueType = { kind: 'endpoint' };
const endpoints: ValueType = { kind: 'endpoints' };
const networks: ValueType = { kind: 'networks' };
const digest: ValueType = { kind: 'digest' };
const boolean: ValueType = { kind: 'boolean' };
const onOff = 'on or off';
const duration = (minMs: number): ValueType => ({ kind: 'duration', minMs });
const integer = (min: number, max: number, word?: string): ValueType =>
  word === undefined ? { kind: 'integer', min, max } : { kind: 'integer', min, max, word };
const choice = (...values: string[]): ValueType => ({ kind: 'choice', values });
const reference = (to: SectionKind, many = false): ValueType => ({ kind: 'reference', to, many });

const dbproxyRows: readonly KeyRow[] = [
  key('dbproxy', 'state_dir', path, 'directory for what must survive a restart', {
    default: '/var/lib/dbproxy',
  }),
  key('dbproxy', 'workers', integer(1, 62, 'auto'), 'worker processes; auto is one a core', {
    default: 'auto',
  }),
  key('dbproxy', 'log_level', choice('debug', 'info', 'warn', 'error'), 'least level that is logged', {
    default: 'info',
    reloadable: true,
  }),
  key('dbproxy', 'log_format', choice('json', 'pretty'), 'form of the log lines', {
    defaultHelp: 'json; pretty on a terminal',
  }),
  key('dbproxy', 'shutdown_timeout', duration(0), 'how long sessions may go on after a stop was asked', {
    default: '30s',
    reloadable: true,
  }),
  key('dbproxy', 'digest_limit', integer(0, MAX_DIGESTS), 'forms of statements each worker counts; 0: none', {
    default: '1000',
  }),
  key(
    'dbproxy',
    'remember_passwords',
    { kind: 'boolean' },
    'keep in memory the passwords that clients give',
    {
      default: 'on',
    },
  ),
  key('dbproxy', 'remembered_logins', integer(1, 1_000_000), 'accounts of which a proven login is kept', {
    default: '10000',
  }),
];

const adminRows: readonly KeyRow[] = [
  key('admin', 'address', endpoint, 'where the admin port listens', { default: '127.0.0.1:6032' }),
  key('admin', 'user', text, 'name to log in with', { required: true, reloadable: true }),
  key('admin', 'password', secret, 'password to log in with', { required: true, reloadable: true }),
  key('admin', 'allow', networks, 'networks that may connect', { default: LOOPBACK, reloadable: true }),
  key('admin', 'tls_cert', path, 'certificate of the admin port; with it who asks for TLS gets it', {
    defaultHelp: 'no TLS',
  }),
  key('admin', 'tls_key', path, 'key of that certificate'),
];

const httpRows: readonly KeyRow[] = [
  key('http', 'address', endpoint, 'where metrics and health are served', { default: '127.0.0.1:9104' }),
  key('http', 'allow', networks, 'networks that may ask', {
    defaultHelp: 'everyone who reaches the address',
    reloadable: true,
  }),
  onlyValue('http', 'dashboard', { values: onOff, default: 'on' }, 'off', 'a page for people at /'),
];

const clusterRows: readonly KeyRow[] = [
  key('cluster', 'monitor_user', text, 'account that checks and promotes the servers', { required: true }),
  key('cluster', 'monitor_password', secret, 'its password', { required: true }),
  key('cluster', 'replication_user', text, 'account that replicas replicate with', { required: true }),
  key('cluster', 'replication_password', secret, 'its password', { required: true }),
  key('cluster', 'check_interval', duration(10), 'time between two checks of a healthy server', {
    default: '1s',
    reloadable: true,
  }),
  key('cluster', 'check_fast_interval', duration(10), 'time between two checks of a suspect server', {
    default: '250ms',
    reloadable: true,
  }),
  key('cluster', 'check_timeout', duration(10), 'after which a check has failed', {
    default: '1s',
    reloadable: true,
  }),
  key(
    'cluster',
    'check_login_interval',
    duration(10),
    'time between two new logins of the monitor at a server, whose checks keep their connection',
    { default: '30s', reloadable: true },
  ),
  key('cluster', 'rise', integer(1, 100), 'good checks in a row that bring a server back', {
    default: '2',
    reloadable: true,
  }),
  key('cluster', 'fall', integer(1, 100), 'failed checks in a row that take a server out', {
    default: '3',
    reloadable: true,
  }),
  key('cluster', 'max_lag', duration(0), 'a replica further behind is given no reads', {
    default: '10s',
    reloadable: true,
  }),
  key('cluster', 'readmit_lag', duration(0), 'a replica taken out for lag comes back below this', {
    defaultHelp: 'half of max_lag',
    reloadable: true,
  }),
  key('cluster', 'lag_source', choice('auto', 'status', 'heartbeat'), 'how lag is measured', {
    default: 'auto',
  }),
  key('cluster', 'heartbeat_interval', duration(50), 'time between two rows that measure lag', {
    default: '250ms',
    reloadable: true,
  }),
  key('cluster', 'failover', choice('manual', 'auto'), 'who promotes a replica when the primary is gone', {
    default: 'manual',
    reloadable: true,
  }),
  key('cluster', 'semi_sync', choice('require', 'prefer', 'off'), 'whether commits wait for a replica', {
    default: 'require',
  }),
  key('cluster', 'catch_up_timeout', duration(0), 'how long a promotion waits for the relay log', {
    default: '30s',
    reloadable: true,
  }),
  key('cluster', 'hold_timeout', duration(100), 'how long writes are held during a promotion', {
    default: '10s',
    reloadable: true,
  }),
  key('cluster', 'transaction_grace', duration(0), 'how long open transactions may go on at a promotion', {
    default: '5s',
    reloadable: true,
  }),
  key('cluster', 'failover_cooldown', duration(0), 'least time between two automatic failovers', {
    default: '10m',
    reloadable: true,
  }),
  key('cluster', 'rejoin', choice('auto', 'report', 'off'), 'what is done with an old primary that returns', {
    default: 'auto',
    reloadable: true,
  }),
  key('cluster', 'failover_data', choice('wait', 'lose_with_report'), 'failover without the last writes', {
    default: 'wait',
    reloadable: true,
  }),
  key('cluster', 'enforce_read_only', boolean, 'set read_only on replicas that lack it', {
    default: 'on',
    reloadable: true,
  }),
  key('cluster', 'write_check', boolean, 'check the primary by a write', { default: 'off' }),
  key('cluster', 'arbiter', { kind: 'arbiters' }, 'third parties that know whether we are the isolated one', {
    default: 'none',
  }),
  key('cluster', 'arbiter_lease', duration(3000), 'how long etcd keeps the right to act for a proxy', {
    default: '3s',
  }),
  key('cluster', 'etcd_user', text, 'account at the etcd of arbiter', {
    defaultHelp: 'none: it asks for none',
  }),
  key('cluster', 'etcd_password', secret, 'its password'),
  key('cluster', 'etcd_ca', path, 'authorities that https://… of arbiter is trusted by', {
    defaultHelp: 'those that come with Node.js',
  }),
  key('cluster', 'users', choice('import', 'file'), 'where the accounts of applications come from', {
    default: 'import',
  }),
  key('cluster', 'users_interval', duration(250), 'time between two imports of accounts', {
    default: '30s',
    reloadable: true,
  }),
];

const backendRows: readonly KeyRow[] = [
  key('backend', 'cluster', reference('cluster'), 'cluster it belongs to', { required: true }),
  key('backend', 'address', endpoint, 'where the server listens', { required: true }),
  key('backend', 'rw_weight', integer(0, MAX_WEIGHT), 'above 0: may be primary, the highest preferred', {
    default: '0',
    reloadable: true,
  }),
  key('backend', 'ro_weight', integer(0, MAX_WEIGHT), 'its share of the reads', {
    default: '1',
    reloadable: true,
  }),
  key('backend', 'max_connections', integer(1, MAX_CONNECTIONS), 'connections to it at once', {
    default: '200',
    reloadable: true,
  }),
  key('backend', 'connect_timeout', duration(1), 'how long a new connection may take to stand and log in', {
    default: '2s',
    reloadable: true,
  }),
  key('backend', 'pool_idle_timeout', duration(100), 'a pooled connection that idles longer is closed', {
    default: '5m',
    reloadable: true,
  }),
  key('backend', 'tls', choice('off', 'preferred', 'required', 'verify'), 'encryption towards the server', {
    default: 'off',
  }),
  key('backend', 'tls_ca', path, 'authorities that tls = verify trusts', {
    defaultHelp: 'those that come with Node.js',
  }),
  key('backend', 'tls_cert', path, 'certificate for a server that asks for one'),
  key('backend', 'tls_key', path, 'key of that certificate'),
  key('backend', 'compression', choice('off', 'zlib', 'zstd'), 'compression towards the server', {
    default: 'off',
  }),
  key('backend', 'proxy_protocol', choice('off', 'v2'), 'tell the server the address of the client', {
    default: 'off',
  }),
  key('backend', 'follow', boolean, 'takes no traffic, and follows the primary of the moment', {
    default: 'off',
  }),
  key('backend', 'channel', text, 'name of the replication channel that counts', {
    defaultHelp: 'of several the one that is worst off',
  }),
];

const listenerRows: readonly KeyRow[] = [
  key('listener', 'cluster', reference('cluster'), 'cluster it leads to', { required: true }),
  key('listener', 'address', endpoint, 'where applications connect', { required: true }),
  key('listener', 'mode', choice('write', 'read', 'split'), 'where its statements go', {
    default: 'write',
  }),
  key('listener', 'pool', choice('session', 'transaction'), 'how long a session keeps a backend connection', {
    default: 'session',
  }),
  key(
    'listener',
    'session_moves',
    { kind: 'boolean' },
    'sessions with pool = session go on at the new primary, those with mode = read at another replica when theirs lags; each statement is read for that',
    { default: 'on' },
  ),
  key(
    'listener',
    'mark_commits',
    { kind: 'boolean' },
    'transactions get a name in the binary log, to find them by when the answer to a COMMIT is lost',
    { default: 'off' },
  ),
  key('listener', 'balance', choice('weighted_round_robin', 'least_connections'), 'how reads are shared', {
    default: 'weighted_round_robin',
    reloadable: true,
  }),
  key('listener', 'causal_reads', choice('off', 'session', 'global'), 'whose writes a read must see', {
    default: 'off',
    reloadable: true,
  }),
  key('listener', 'causal_timeout', duration(0), 'how long such a read waits for a replica', {
    default: '1s',
    reloadable: true,
  }),
  key('listener', 'max_connections', integer(1, MAX_CONNECTIONS), 'clients at once over all workers', {
    default: '10000',
    reloadable: true,
  }),
  key('listener', 'queue_timeout', duration(0), 'how long a session waits for a backend connection', {
    default: '10s',
    reloadable: true,
  }),
  key('listener', 'idle_timeout', duration(100), 'a client silent for longer is disconnected', {
    default: '8h',
    reloadable: true,
  }),
  key('listener', 'allow', networks, 'networks that may connect', {
    defaultHelp: 'everyone who reaches the address',
    reloadable: true,
  }),
  key('listener', 'proxy_protocol_from', networks, 'load balancers whose PROXY header is believed', {
    defaultHelp: 'none',
  }),
  key('listener', 'tls', choice('off', 'preferred', 'required'), 'encryption towards applications', {
    default: 'off',
  }),
  key('listener', 'tls_cert', path, 'certificate of the listener'),
  key('listener', 'tls_key', path, 'key of that certificate'),
  key('listener', 'tls_ca', path, 'authorities that sign the certificates of clients', {
    defaultHelp: 'clients are not asked for certificates',
  }),
  key('listener', 'compression', { kind: 'boolean' }, 'offer zlib and zstd compression to clients', {
    default: 'on',
  }),
  key(
    'listener',
    'pipelining',
    choice('off', 'adaptive', 'on'),
    'reads of several sessions share connections',
    {
      default: 'off',
      reloadable: true,
    },
  ),
  key('listener', 'pipeline_depth', integer(2, 1024), 'statements at most on one shared connection', {
    default: '16',
    reloadable: true,
  }),
  key('listener', 'pipeline_threshold', duration(1), 'faster statements than this, on average, may share', {
    default: '1ms',
    reloadable: true,
  }),
  key('listener', 'max_prepared_statements', integer(1, MAX_PREPARED), 'prepared statements of one session', {
    default: '1000',
    reloadable: true,
  }),
  key('listener', 'statement_cache', integer(1, MAX_PREPARED), 'prepared statements kept on a connection', {
    default: '100',
  }),
  key('listener', 'handshake_timeout', duration(100), 'a login must be finished within this', {
    default: '10s',
    reloadable: true,
  }),
  key(
    'listener',
    'drain_timeout',
    duration(0),
    'how long its sessions are kept when its address has left this host',
    { default: '30s', reloadable: true },
  ),
];

const userRows: readonly KeyRow[] = [
  key('user', 'password', secret, 'clear password (or auth, or with users = import neither)', {
    reloadable: true,
  }),
  key(
    'user',
    'auth',
    {
      kind: 'secret',
      // Native; caching_sha2_password and sha256_password, as they are or in hexadecimal; ed25519.
      pattern: /^(\*[0-9A-F]{40}|\$[AB5]\$.+|0x(24(41|42|35)24)([0-9A-F]{2})+|[0-9A-Z+/]{43})$/i,
      looksLike: '* and 40 hexadecimal digits (or $A$…, $5$…, 0x2441…, or the 43 characters of ed25519)',
    },
    'hash as the account table of the server stores it, for example * and 40 hexadecimal digits',
    { reloadable: true },
  ),
  key('user', 'allow', networks, 'networks the user may come from', {
    defaultHelp: 'everywhere',
    reloadable: true,
  }),
  key('user', 'max_connections', integer(0, MAX_CONNECTIONS), 'sessions at once; 0 is no limit of its own', {
    default: '0',
    reloadable: true,
  }),
  key('user', 'listeners', reference('listener', true), 'listeners the user may use', {
    defaultHelp: 'all',
    reloadable: true,
  }),
];

const ruleRows: readonly KeyRow[] = [
  key('rule', 'user', text, 'statements of this user', { reloadable: true }),
  key('rule', 'listener', reference('listener'), 'statements on this listener', {
    defaultHelp: 'every listener with mode = split',
    reloadable: true,
  }),
  key('rule', 'digest', digest, 'statements of this form, as SHOW DIGESTS has it', { reloadable: true }),
  key('rule', 'target', choice('primary', 'replica'), 'where they go', { required: true, reloadable: true }),
];

const peerRows: readonly KeyRow[] = [
  key('peer', 'address', endpoints, "the other proxy's admin port, or both: each passes over its own", {
    defaultHelp: 'there is no other',
  }),
  key('peer', 'user', text, 'account of the two at each other, another than that of [admin]'),
  key('peer', 'password', secret, 'its password'),
  key('peer', 'tls_ca', path, 'who signs the certificates of the admin ports', {
    defaultHelp: 'encrypted where [admin] has tls_cert, and not verified',
  }),
  key('peer', 'peer_timeout', duration(500), 'without an answer for so long the other is gone', {
    default: '3s',
  }),
];

const keepalivedName: ValueType = {
  kind: 'string',
  pattern: KEEPALIVED_WORD,
  looksLike: 'a name of letters, digits, _ . and -',
};
const interfaceName: ValueType = {
  kind: 'string',
  pattern: /^[^\s/#"'!]{1,15}$/,
  looksLike: 'a network interface such as eth0',
};

const keepalivedRows: readonly KeyRow[] = [
  key('keepalived', 'vip', { kind: 'ip', many: true, prefix: true }, 'virtual addresses, IP/PREFIX', {
    defaultHelp: 'none',
  }),
  key('keepalived', 'interface', interfaceName, 'network interface that gets them'),
  key('keepalived', 'gateway', { kind: 'ip', many: false, prefix: false }, 'address that must answer ping', {
    defaultHelp: 'none is asked',
  }),
  key(
    'keepalived',
    'hosts',
    { kind: 'ip', many: true, prefix: false },
    'own addresses of host 1 and host 2',
    {
      defaultHelp: '--host says which host it is',
    },
  ),
  key('keepalived', 'unicast', boolean, 'VRRP from host to host, where the network has no multicast', {
    default: 'off',
  }),
  key('keepalived', 'virtual_router_id', integer(1, 255), 'VRRP id, unique in the network', {
    default: '51',
  }),
  key('keepalived', 'instance', keepalivedName, 'name of the VRRP instance', {
    defaultHelp: 'vi_dbproxy_ID with the virtual_router_id',
  }),
  key('keepalived', 'priority', integer(11, 254), 'VRRP priority of the host that is preferred', {
    default: '100',
  }),
  key('keepalived', 'advert_int', duration(10), 'time between two VRRP advertisements', { default: '1s' }),
  key(
    'keepalived',
    'vip_layout',
    choice('together', 'apart'),
    'whether the read VIPs prefer the other host',
    {
      default: 'together',
    },
  ),
  key(
    'keepalived',
    'check_timeout',
    duration(100),
    'time in which keepalived check answers, with its start',
    {
      default: '400ms',
    },
  ),
  key('keepalived', 'haconf', path, 'file with which operators tell keepalived and dbproxy what to do', {
    defaultHelp: 'none',
  }),
  key('keepalived', 'notify_command', text, 'command run when the state changes', { defaultHelp: 'none' }),
  key('keepalived', 'notify_timeout', duration(100), 'after which that command is ended', { default: '10s' }),
];

/** All keys, in the order in which documentation and `SHOW CONFIG` give them. */
export const keyRows: readonly KeyRow[] = [
  ...dbproxyRows,
  ...adminRows,
  ...httpRows,
  ...clusterRows,
  ...backendRows,
  ...listenerRows,
  ...userRows,
  ...ruleRows,
  ...peerRows,
  ...keepalivedRows,
];

/** The keys of one kind of section. */
export function keysOf(section: SectionKind): readonly KeyRow[] {
  return keyRows.filter((row) => row.section === section);
}

/** Field of the checked configuration that a key fills: `check_interval` is `checkIntervalMs`. */
export function fieldOf(row: KeyRow): string {
  const camel = row.name.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase());
  return row.type.kind === 'duration' ? `${camel}Ms` : camel;
}
