/**
 * The first configuration of a pair of hosts, for `dbproxy init`: one proxy.conf for both, the certificate of their admin
 * ports, what the servers have to be, and the SQL that makes dbproxy's accounts. Every password is made here, so nobody has to think of one. Pure: what
 * is known of the host and what is left to chance come in.
 */
import {
  grantStatements,
  semiSyncTimeoutMs,
  setupWordsOf,
  type NeededPrivilege,
} from '../monitor/flavour/setup.ts';
import type { CertificateWithKey } from './certificate.ts';

/** What an operator says and what this host says of itself. */
export interface PairRequest {
  /** Own addresses of host 1 and host 2. */
  readonly hosts: readonly [string, string];
  /** With prefix; the first is for writes, and for reads as well when it is the only one. */
  readonly vips: readonly string[];
  readonly interfaceName: string;
  /** Null: this host has none. */
  readonly gateway: string | null;
  /** A new password each time. */
  readonly makePassword: () => string;
  readonly certificate: CertificateWithKey;
}

export interface FirstFile {
  readonly name: string;
  readonly text: string;
}

/** Of the accounts that dbproxy has on the servers. */
interface AccountPasswords {
  readonly monitor: string;
  readonly replication: string;
}

const MONITOR_USER = 'dbproxy_monitor';
const REPLICATION_USER = 'repl';
const SERVER_PORT = 3306;
const ADMIN_PORT = 6032;
/** Those of the demo; 3306 at a virtual address is taken where a server listens on all addresses. */
const PORTS = { write: 6446, read: 6447, split: 6450 } as const;
/** Any version that has the privileges by their present names: they are the same since 10.5. */
const MARIADB = setupWordsOf('10.11.0-MariaDB', () => false);

/** The files that go to both hosts. */
export function firstFiles(request: PairRequest): readonly FirstFile[] {
  const passwords = { monitor: request.makePassword(), replication: request.makePassword() };
  return [
    { name: 'proxy.conf', text: proxyConf(request, passwords) },
    { name: 'admin.pem', text: request.certificate.cert },
    { name: 'admin.key', text: request.certificate.key },
    { name: 'mariadb.cnf', text: mariadbCnf() },
    { name: 'accounts.sql', text: accountsSql(passwords) },
  ];
}

/** The gateway of an interface in the kernel's list of routes (/proc/net/route); null where there is none. */
export function defaultGateway(routes: string, interfaceName: string): string | null {
  const hasGateway = 0x2;
  for (const line of routes.split('\n').slice(1)) {
    const [name, destination, gateway = '', flags = '0'] = line.split('\t');
    if (name !== interfaceName || destination !== '00000000' || (parseInt(flags, 16) & hasGateway) === 0)
      continue;
    // The kernel writes the number as it lies in memory, the first byte last.
    const bytes = gateway.match(/../g)?.toReversed() ?? [];
    return bytes.map((byte) => parseInt(byte, 16)).join('.');
  }
  return null;
}

function proxyConf(request: PairRequest, passwords: AccountPasswords): string {
  const { hosts, vips, interfaceName, gateway, makePassword } = request;
  const [one, other] = hosts.map(inEndpoint);
  const writeVip = inEndpoint(vips[0]!.split('/')[0]!);
  const readVip = inEndpoint(vips.at(-1)!.split('/')[0]!);
  return `# The configuration of dbproxy on both hosts of a pair, made by \`dbproxy init\`: copy it as it is.
# proxy.conf.example explains every key; \`dbproxy check-config\` says what is wrong with this file.

[admin]
address = 0.0.0.0:${ADMIN_PORT}
allow = 127.0.0.0/8, ::1, ${hosts.join(', ')}
user = admin
password = ${makePassword()}
tls_cert = admin.pem
tls_key = admin.key

# The dbproxy of the other host, which each finds by passing over its own address.
[peer]
address = ${one}:${ADMIN_PORT}, ${other}:${ADMIN_PORT}
user = pair
password = ${makePassword()}
tls_ca = admin.pem

[keepalived]
vip = ${vips.join(', ')}
interface = ${interfaceName}
hosts = ${hosts.join(', ')}
${
  gateway === null
    ? '# What both hosts reach as long as the network is well: who does not reach it gives up the virtual addresses.\n# gateway ='
    : `gateway = ${gateway}`
}

[cluster main]
monitor_user = ${MONITOR_USER}
monitor_password = ${passwords.monitor}
replication_user = ${REPLICATION_USER}
replication_password = ${passwords.replication}
${
  gateway === null
    ? '# auto needs somebody outside of the two hosts who says that it is not this one that is cut off: arbiter = ping:IP\nfailover = manual'
    : `failover = auto\narbiter = ping:${gateway}`
}

[backend db1]
cluster = main
address = ${one}:${SERVER_PORT}
rw_weight = 1

[backend db2]
cluster = main
address = ${other}:${SERVER_PORT}
rw_weight = 1

[listener write]
cluster = main
address = ${writeVip}:${PORTS.write}
mode = write

[listener read]
cluster = main
address = ${readVip}:${PORTS.read}
mode = read

[listener split]
cluster = main
address = ${writeVip}:${PORTS.split}
mode = split
pool = transaction
causal_reads = session
`;
}

/** What the doctor would ask for, one thing after the other. */
function mariadbCnf(): string {
  return `# What a MariaDB server of the pair has to be; each has a server_id of its own besides.
[mariadb]
bind_address = 0.0.0.0
# A DNS server that does not answer would keep every login waiting.
skip_name_resolve = ON
# More than max_connections of its [backend] section.
max_connections = 250

# It starts as a replica that nobody writes to; dbproxy makes one the primary.
read_only = ON
init-rpl-role = SLAVE
rpl_semi_sync_slave_enabled = ON
rpl_semi_sync_master_enabled = OFF
# A commit waits for a replica, before anybody sees it, however long.
rpl_semi_sync_master_timeout = ${semiSyncTimeoutMs('require')}
rpl_semi_sync_master_wait_point = AFTER_SYNC

# All that is written is in the binary log, and on the disk before anybody is told.
log_bin = binlog
log_slave_updates = ON
binlog_format = ROW
gtid_strict_mode = ON
sync_binlog = 1
innodb_flush_log_at_trx_commit = 3
max_binlog_size = 128M
slave_parallel_threads = 4
`;
}

function accountsSql(passwords: AccountPasswords): string {
  const { monitorPrivileges, bootstrapPrivileges, rejoinPrivileges, replicationPrivileges } = MARIADB;
  const ofMonitor = [
    ...monitorPrivileges,
    ...bootstrapPrivileges,
    ...rejoinPrivileges.onServer,
    ...rejoinPrivileges.onTables,
  ];
  return `-- The two accounts of dbproxy, on each of two new MariaDB servers, as root: mariadb < accounts.sql
-- They go to no binary log: the servers have the same to begin with.
SET SESSION sql_log_bin = 0;
${accountSql(MONITOR_USER, passwords.monitor, ofMonitor)}
${accountSql(REPLICATION_USER, passwords.replication, replicationPrivileges)}
`;
}

function accountSql(user: string, password: string, needed: readonly NeededPrivilege[]): string {
  const grants = grantStatements(withoutTwins(needed), user);
  const create = `CREATE OR REPLACE USER '${user}'@'%' IDENTIFIED BY '${password}'`;
  return [create, ...grants].map((statement) => `${statement};`).join('\n');
}

function withoutTwins(needed: readonly NeededPrivilege[]): NeededPrivilege[] {
  return [...new Map(needed.map((one) => [`${one.privilege} ${one.on}`, one])).values()];
}

function inEndpoint(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}
