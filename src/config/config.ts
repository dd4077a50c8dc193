/**
 * The configuration as the program sees it: checked, with defaults filled in, durations in
 * milliseconds, sizes in bytes, secrets read. `config/keys.ts` is the table of what a file may say,
 * `config/load.ts` turns a file into this.
 */
import type { Endpoint } from '../base/address.ts';
import type { LogLevel } from '../base/log.ts';

export interface ProxyConfig {
  dbproxy: {
    stateDir: string;
    /** Number of worker processes; `auto` has been resolved to the number of cores. */
    workers: number;
    logLevel: LogLevel;
    logFormat: 'json' | 'pretty';
    shutdownTimeoutMs: number;
    /** Forms of statements that each worker remembers; 0: none. */
    digestLimit: number;
    /** A password that a client has given is kept in memory, for servers that want to see it. */
    rememberPasswords: boolean;
    /** Accounts of which a proof is kept, with the password or without. */
    rememberedLogins: number;
  };
  admin: AdminConfig;
  http: { address: Endpoint; allow: string[]; dashboard: boolean };
  clusters: ClusterConfig[];
  backends: BackendConfig[];
  listeners: ListenerConfig[];
  users: UserConfig[];
  /** In the order of the file: the first that matches counts. */
  rules: RuleConfig[];
  /** The other dbproxy of the pair; absent: there is none. */
  peer?: PeerConfig;
  keepalived: KeepalivedConfig;
}

export interface PeerConfig {
  /** Admin ports; the own one may be among them. */
  address: string[];
  user: string;
  password: string;
  tlsCa?: string;
  /** Without an answer for so long it is gone. */
  peerTimeoutMs: number;
}

export interface AdminConfig {
  address: Endpoint;
  user: string;
  password: string;
  allow: string[];
  /** Both are there, or none: then there is no TLS. */
  tlsCert?: string;
  tlsKey?: string;
}

export interface ClusterConfig {
  name: string;
  monitorUser: string;
  monitorPassword: string;
  replicationUser: string;
  replicationPassword: string;
  checkIntervalMs: number;
  checkFastIntervalMs: number;
  checkTimeoutMs: number;
  /** So often a new login is made, which an account that was locked or changed would be refused. */
  checkLoginIntervalMs: number;
  /** Good checks in a row that bring a server back. */
  rise: number;
  /** Failed checks in a row that take a server out. */
  fall: number;
  maxLagMs: number;
  readmitLagMs: number;
  /** status: as the server says. heartbeat: by a row that is written on the primary. auto: by that row where it can be. */
  lagSource: 'auto' | 'status' | 'heartbeat';
  /** Time between two such rows. */
  heartbeatIntervalMs: number;
  /** A tiny write tells a primary that has hung from one that is well. */
  writeCheck: boolean;
  /** Third parties that tell whether it is we who are cut off, as `arbiter.ts` reads them; empty: none. */
  arbiter: string[];
  /** How long a voting arbiter keeps the right to act for a proxy that it does not hear of. */
  arbiterLeaseMs: number;
  /** The account at a voting arbiter; absent: it asks for none. */
  etcdUser?: string;
  etcdPassword?: string;
  /** Path of the authorities that its certificate is trusted by; absent: those that come with Node.js. */
  etcdCa?: string;
  /** Who promotes a replica when the primary is gone. */
  failover: 'manual' | 'auto';
  failoverCooldownMs: number;
  /** Whether an automatic failover may go on when not all that was received can be applied in time. */
  failoverData: 'wait' | 'lose_with_report';
  /** What is done with an old primary that returns. */
  rejoin: 'auto' | 'report' | 'off';
  enforceReadOnly: boolean;
  catchUpTimeoutMs: number;
  holdTimeoutMs: number;
  transactionGraceMs: number;
  /**
   * Whether commits wait for a replica. require: for as long as it takes. prefer: for a moment, then the
   * primary goes on alone.
   */
  semiSync: 'require' | 'prefer' | 'off';
  /** import: the accounts of the primary, with what [user] sections add. file: those sections alone. */
  users: 'import' | 'file';
  usersIntervalMs: number;
}

export interface BackendConfig {
  name: string;
  cluster: string;
  address: Endpoint;
  rwWeight: number;
  roWeight: number;
  /** The file names a ro_weight; see BackendView.roWeightSet. */
  roWeightSet: boolean;
  maxConnections: number;
  /** A connection that idles in a pool longer than this is closed. */
  poolIdleTimeoutMs: number;
  /** How long a new connection for a session may take to stand and log in. */
  connectTimeoutMs: number;
  tls: BackendTls;
  /** Path of the authorities that `verify` trusts; absent: those that come with Node.js. */
  tlsCa?: string;
  /** Paths of what is shown to a server that asks for a certificate: both or none. */
  tlsCert?: string;
  tlsKey?: string;
  /** Whether new connections begin with a PROXY header that tells the client's address. */
  proxyProtocol: 'off' | 'v2';
  compression: 'off' | 'zlib' | 'zstd';
  /** It takes no traffic, and follows whoever is the primary. */
  follow: boolean;
  /** The replication channel that counts; absent: of several the one that is worst off. */
  channel?: string;
}

/** `verify`: the certificate must be signed by a trusted authority and name the host. */
export type BackendTls = 'off' | 'preferred' | 'required' | 'verify';

export type ListenerTls = 'off' | 'preferred' | 'required';

export type ListenerMode = 'write' | 'read' | 'split';

export interface ListenerConfig {
  name: string;
  cluster: string;
  address: Endpoint;
  mode: ListenerMode;
  /** How long a session keeps a backend connection: for its life, or while something pins it. */
  pool: 'session' | 'transaction';
  balance: 'weighted_round_robin' | 'least_connections';
  /** Which writes a read must see: none in particular, those of its session, everybody's. */
  causalReads: 'off' | 'session' | 'global';
  /** How long a replica may take to catch up with them; then the primary serves. */
  causalTimeoutMs: number;
  /** Whether reads of several sessions may travel on one connection. adaptive: only when all are busy. */
  pipelining: 'off' | 'adaptive' | 'on';
  /** Statements at most on one shared connection. */
  pipelineDepth: number;
  /** A form of statement counts as fast when it takes less than this on average. */
  pipelineThresholdMs: number;
  /** Statements that a session may have prepared at once. */
  maxPreparedStatements: number;
  /** Prepared statements that are kept on each backend connection, the least used forgotten. */
  statementCache: number;
  /** Sessions that keep one connection to the primary go on at another primary. */
  sessionMoves: boolean;
  /** Transactions get a name that is logged with them. */
  markCommits: boolean;
  /** Clients at once over all workers. */
  maxConnections: number;
  queueTimeoutMs: number;
  idleTimeoutMs: number;
  handshakeTimeoutMs: number;
  /** How long sessions are kept when the address has left this host. */
  drainTimeoutMs: number;
  /** CIDRs that may connect; an empty list means everyone. */
  allow: string[];
  /** CIDRs of load balancers whose PROXY header is believed. */
  proxyProtocolFrom: string[];
  tls: ListenerTls;
  /** Paths; both are there unless `tls` is off. */
  tlsCert?: string;
  tlsKey?: string;
  /** Path of the authorities that sign the certificates of clients; absent: none are asked for. */
  tlsCa?: string;
  /** Offered to clients. */
  compression: boolean;
}

export interface UserConfig {
  name: string;
  /** Clear password, when the file gives one. */
  password?: string;
  /** `mysql.user`'s form of a hash, for example `*6BB4…` (double SHA-1), when the file gives that. */
  auth?: string;
  /** CIDRs the user may come from; an empty list means everywhere. */
  allow: string[];
  /** Sessions at once over all workers; 0 means no limit of its own. */
  maxConnections: number;
  /** Listeners the user may use; an empty list means all. */
  listeners: string[];
}

/** Where statements go that it fits: those of the user, on the listener, with the digest, as far as each is given. */
export interface RuleConfig {
  name: string;
  user?: string;
  listener?: string;
  /** 0x and 16 hexadecimal digits in lower case. */
  digest?: string;
  target: 'primary' | 'replica';
}

/** The virtual addresses of the pair; without any, keepalived is not used. */
export interface KeepalivedConfig {
  /** IP/PREFIX, the IP in its usual form. */
  vip: string[];
  /** There whenever there is a VIP. */
  interface?: string;
  /** Must answer ping, or this host gives its VIPs up. */
  gateway?: string;
  /** Own addresses of host 1 and host 2; empty: not given. */
  hosts: string[];
  unicast: boolean;
  virtualRouterId: number;
  /** Name of the VRRP instance of the write VIPs, or of all. */
  instance: string;
  /** Of the host that is preferred. */
  priority: number;
  advertIntMs: number;
  vipLayout: 'together' | 'apart';
  /** From the start of `dbproxy keepalived check` to its answer. */
  checkTimeoutMs: number;
  /** Path. */
  haconf?: string;
  /** For a shell. */
  notifyCommand?: string;
  notifyTimeoutMs: number;
}
