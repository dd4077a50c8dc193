/**
 * From the text of `proxy.conf` to a checked configuration. All that is wrong is said at once, one line a
 * fault: `file:line: [section] key: what is wrong; did you mean …?`
 */
import { messageOf } from '../base/message-of.ts';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, resolve } from 'node:path';
import { systemClock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { LogLevel } from '../base/log.ts';
import { checkTogether, notesOf, problemsOfBackend } from './check.ts';
import type {
  BackendConfig,
  ClusterConfig,
  KeepalivedConfig,
  ListenerConfig,
  ListenerMode,
  ProxyConfig,
  RuleConfig,
  UserConfig,
} from './config.ts';
import { parseIni, sectionLabel, type IniSection, type Problem } from './ini.ts';
import { sectionRows, type SectionKind, type SectionRow } from './keys.ts';
import { readSection, Section, type ConfigContext } from './section.ts';
import { didYouMean } from './suggest.ts';
import { vrrpInstance } from './virtual-addresses.ts';

/** Reads and checks the file; throws DBPROXY_CONFIG with all its faults. */
export function loadConfig(path: string, env: NodeJS.ProcessEnv): ProxyConfig {
  return parseConfig(readText(path), contextOf(path, env));
}

/** The same for who talks to a proxy that runs already: whatever state the files of certificates are in. */
export function loadConfigOfRunning(path: string, env: NodeJS.ProcessEnv): ProxyConfig {
  return parseConfig(readText(path), { ...contextOf(path, env), ignoresCertificates: true });
}

/** What an operator should know of a file that has no errors: for `check-config` and the start. */
export function loadConfigNotes(path: string, env: NodeJS.ProcessEnv): string[] {
  return configNotes(readText(path), contextOf(path, env));
}

/** Checks the text of a file; throws DBPROXY_CONFIG with all its faults. */
export function parseConfig(text: string, context: ConfigContext): ProxyConfig {
  const { sections, problems } = readSections(text, context);
  if (problems.length > 0) throw refusal('DBPROXY_CONFIG', formatProblems(context.file, problems));
  return buildConfig(sections, context);
}

/** The notes on the text of a file: defaults that are not the usual ones, and settings that look wrong. */
export function configNotes(text: string, context: ConfigContext): string[] {
  return notesOf(readSections(text, context).sections, context);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const reason = messageOf(error);
    throw refusal('DBPROXY_CONFIG', `${path}: cannot be read: ${reason}`);
  }
}

/** Keys that name files say where they lie from: only a file can. */
const FILE_KEYS = ['tls_ca', 'tls_cert', 'tls_key'];

/** A backend as a section of the file with these keys would make it; what is wrong with them, if anything is. */
export function readBackend(
  name: string,
  written: Readonly<Record<string, string>>,
): { backend: BackendConfig } | { problems: string[] } {
  const entries = Object.entries(written).map(([key, value]) => ({
    key,
    value,
    line: 1,
    quoted: true,
    commented: false,
  }));
  const context: ConfigContext = {
    file: '/',
    env: {},
    readFile: () => {
      throw new TypeError('a backend that is added at run time has no files');
    },
    cores: 1,
  };
  const problems: Problem[] = [];
  const source = { kind: 'backend', name, line: 1, entries, brokenKeys: [] };
  const section = readSection(source, 'backend', context, problems);
  workOutDefaults(section, context);
  const badName = nameProblem('backend', name);
  const files = FILE_KEYS.filter((key) => section.isWritten(key));
  const texts = [
    ...(badName === undefined ? [] : [`${section.label}: ${badName}`]),
    ...problems.map(({ text }) => text),
    ...files.map((key) => `${section.label} ${key}: files are named in the configuration alone`),
  ];
  if (texts.length === 0) texts.push(...problemsOfBackend(section));
  return texts.length > 0 ? { problems: texts } : { backend: backendOf(section, context) };
}

function contextOf(path: string, env: NodeJS.ProcessEnv): ConfigContext {
  return {
    file: path,
    env,
    readFile: (named) => readFileSync(resolve(dirname(path), named), 'utf8'),
    cores: availableParallelism(),
    terminal: process.stdout.isTTY,
    wallMs: systemClock.wallMs(),
  };
}

function formatProblems(file: string, problems: readonly Problem[]): string {
  return problems
    .toSorted((one, other) => one.line - other.line)
    .map(({ line, text }) => `${file}:${line}: ${text}`)
    .join('\n');
}

function readSections(text: string, context: ConfigContext): { sections: Section[]; problems: Problem[] } {
  const source = parseIni(text);
  const problems = [...source.problems];
  const sections: Section[] = [];
  for (const read of source.sections) {
    const row = sectionRows.find((candidate) => candidate.kind === read.kind);
    const problem = headerProblem(read, row, sections);
    if (problem !== undefined) problems.push({ line: read.line, text: problem });
    else if (row !== undefined) sections.push(readSection(read, row.kind, context, problems));
  }
  // A section that may be left out has its defaults; what it must have is then missing on line 1.
  for (const { kind, named } of sectionRows) {
    if (named || source.sections.some((section) => section.kind === kind)) continue;
    sections.push(
      readSection({ kind, name: '', line: 1, entries: [], brokenKeys: [] }, kind, context, problems),
    );
  }
  for (const section of sections) workOutDefaults(section, context);
  problems.push(...checkTogether(sections, context));
  return { sections, problems };
}

/** What is wrong with a section's first line. */
function headerProblem(
  read: IniSection,
  row: SectionRow | undefined,
  earlier: readonly Section[],
): string | undefined {
  const label = sectionLabel(read);
  if (row === undefined) {
    const kinds = sectionRows.map(({ kind }) => kind);
    return `${label}: there is no such section${didYouMean(read.kind, kinds)}`;
  }
  if (row.named && read.name === '') return `${label}: needs a name: [${read.kind} NAME]`;
  if (!row.named && read.name !== '') return `${label}: takes no name: [${read.kind}]`;
  const badName = row.named ? nameProblem(row.kind, read.name) : undefined;
  if (badName !== undefined) return `${label}: ${badName}`;
  const twin = earlier.find((section) => section.kind === row.kind && section.name === read.name);
  return twin === undefined ? undefined : `${label}: is given twice, first on line ${twin.line}`;
}

/** Names of users are the servers' affair; the others stand in statements, labels and file names. */
function nameProblem(kind: SectionKind, name: string): string | undefined {
  if (kind === 'user') return name.length <= 128 ? undefined : 'the name is longer than 128 characters';
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(name)) return undefined;
  return 'a name has letters, digits, _ . and -, at most 64 of them';
}

/** Defaults that follow from other values or from the machine. */
function workOutDefaults(section: Section, context: ConfigContext): void {
  if (section.kind === 'dbproxy') {
    if (section.value('workers') === 'auto') section.set('workers', Math.min(context.cores, 62));
    if (!section.isWritten('log_format')) section.set('log_format', context.terminal ? 'pretty' : 'json');
  }
  const maxLagMs = section.value('max_lag');
  if (section.kind === 'cluster' && !section.isWritten('readmit_lag') && typeof maxLagMs === 'number') {
    section.set('readmit_lag', Math.floor(maxLagMs / 2));
  }
  const instance = section.kind === 'keepalived' ? vrrpInstance(section) : null;
  if (instance !== null) section.set('instance', instance);
  // What takes no traffic has no share of the reads, whatever the usual share is.
  if (section.kind === 'backend' && section.value('follow') === true && !section.isWritten('ro_weight')) {
    section.set('ro_weight', 0);
  }
}

function buildConfig(sections: readonly Section[], context: ConfigContext): ProxyConfig {
  const of = (kind: SectionKind): Section[] => sections.filter((section) => section.kind === kind);
  const one = (kind: SectionKind): Section => of(kind)[0] ?? new Section(kind, '', 1);
  return {
    dbproxy: dbproxyOf(one('dbproxy'), context),
    admin: adminOf(one('admin'), context),
    http: httpOf(one('http')),
    clusters: of('cluster').map((section) => clusterOf(section, context)),
    backends: of('backend').map((section) => backendOf(section, context)),
    listeners: of('listener').map((section) => listenerOf(section, context)),
    users: of('user').map(userOf),
    rules: of('rule').map(ruleOf),
    ...peerOf(one('peer'), context),
    keepalived: keepalivedOf(one('keepalived'), context),
  };
}

function dbproxyOf(section: Section, context: ConfigContext): ProxyConfig['dbproxy'] {
  return {
    stateDir: resolve(dirname(context.file), section.text('state_dir')),
    workers: section.number('workers'),
    logLevel: section.text('log_level') as LogLevel,
    logFormat: section.text('log_format') as 'json' | 'pretty',
    shutdownTimeoutMs: section.number('shutdown_timeout'),
    digestLimit: section.number('digest_limit'),
    rememberPasswords: section.flag('remember_passwords'),
    rememberedLogins: section.number('remembered_logins'),
  };
}

function adminOf(section: Section, context: ConfigContext): ProxyConfig['admin'] {
  return {
    address: section.endpoint('address'),
    user: section.text('user'),
    password: section.text('password'),
    allow: section.list('allow'),
    ...tlsFilesOf(section, context),
  };
}

function httpOf(section: Section): ProxyConfig['http'] {
  return {
    address: section.endpoint('address'),
    allow: section.list('allow'),
    dashboard: section.flag('dashboard'),
  };
}

function clusterOf(section: Section, context: ConfigContext): ClusterConfig {
  return {
    name: section.name,
    monitorUser: section.text('monitor_user'),
    monitorPassword: section.text('monitor_password'),
    replicationUser: section.text('replication_user'),
    replicationPassword: section.text('replication_password'),
    checkIntervalMs: section.number('check_interval'),
    checkFastIntervalMs: section.number('check_fast_interval'),
    checkTimeoutMs: section.number('check_timeout'),
    checkLoginIntervalMs: section.number('check_login_interval'),
    rise: section.number('rise'),
    fall: section.number('fall'),
    maxLagMs: section.number('max_lag'),
    readmitLagMs: section.number('readmit_lag'),
    lagSource: section.text('lag_source') as ClusterConfig['lagSource'],
    heartbeatIntervalMs: section.number('heartbeat_interval'),
    writeCheck: section.flag('write_check'),
    arbiter: section.list('arbiter'),
    arbiterLeaseMs: section.number('arbiter_lease'),
    ...(section.isWritten('etcd_user') && { etcdUser: section.text('etcd_user') }),
    ...(section.isWritten('etcd_password') && { etcdPassword: section.text('etcd_password') }),
    ...(section.isWritten('etcd_ca') && { etcdCa: resolve(dirname(context.file), section.text('etcd_ca')) }),
    failover: section.text('failover') as ClusterConfig['failover'],
    failoverCooldownMs: section.number('failover_cooldown'),
    failoverData: section.text('failover_data') as ClusterConfig['failoverData'],
    rejoin: section.text('rejoin') as ClusterConfig['rejoin'],
    enforceReadOnly: section.flag('enforce_read_only'),
    catchUpTimeoutMs: section.number('catch_up_timeout'),
    holdTimeoutMs: section.number('hold_timeout'),
    transactionGraceMs: section.number('transaction_grace'),
    semiSync: section.text('semi_sync') as ClusterConfig['semiSync'],
    users: section.text('users') as ClusterConfig['users'],
    usersIntervalMs: section.number('users_interval'),
  };
}

function backendOf(section: Section, context: ConfigContext): BackendConfig {
  return {
    name: section.name,
    cluster: section.text('cluster'),
    address: section.endpoint('address'),
    rwWeight: section.number('rw_weight'),
    roWeight: section.number('ro_weight'),
    roWeightSet: section.isWritten('ro_weight'),
    maxConnections: section.number('max_connections'),
    poolIdleTimeoutMs: section.number('pool_idle_timeout'),
    connectTimeoutMs: section.number('connect_timeout'),
    tls: section.text('tls') as BackendConfig['tls'],
    ...tlsFilesOf(section, context),
    proxyProtocol: section.text('proxy_protocol') as BackendConfig['proxyProtocol'],
    compression: section.text('compression') as BackendConfig['compression'],
    follow: section.flag('follow'),
    ...(section.isWritten('channel') && { channel: section.text('channel') }),
  };
}

function listenerOf(section: Section, context: ConfigContext): ListenerConfig {
  return {
    name: section.name,
    cluster: section.text('cluster'),
    address: section.endpoint('address'),
    mode: section.text('mode') as ListenerMode,
    pool: section.text('pool') as ListenerConfig['pool'],
    balance: section.text('balance') as ListenerConfig['balance'],
    causalReads: section.text('causal_reads') as ListenerConfig['causalReads'],
    causalTimeoutMs: section.number('causal_timeout'),
    pipelining: section.text('pipelining') as ListenerConfig['pipelining'],
    pipelineDepth: section.number('pipeline_depth'),
    pipelineThresholdMs: section.number('pipeline_threshold'),
    maxPreparedStatements: section.number('max_prepared_statements'),
    statementCache: section.number('statement_cache'),
    sessionMoves: section.flag('session_moves'),
    markCommits: section.flag('mark_commits'),
    maxConnections: section.number('max_connections'),
    queueTimeoutMs: section.number('queue_timeout'),
    idleTimeoutMs: section.number('idle_timeout'),
    handshakeTimeoutMs: section.number('handshake_timeout'),
    drainTimeoutMs: section.number('drain_timeout'),
    allow: section.list('allow'),
    proxyProtocolFrom: section.list('proxy_protocol_from'),
    tls: section.text('tls') as ListenerConfig['tls'],
    ...tlsFilesOf(section, context),
    compression: section.flag('compression'),
  };
}

/** The files of a section's TLS, as paths that do not depend on where the program runs. */
function tlsFilesOf(section: Section, context: ConfigContext): Pick<ListenerConfig, TlsFile> {
  const files: Pick<ListenerConfig, TlsFile> = {};
  const fields = { tls_cert: 'tlsCert', tls_key: 'tlsKey', tls_ca: 'tlsCa' } as const;
  for (const [key, field] of Object.entries(fields)) {
    if (section.isWritten(key)) files[field] = resolve(dirname(context.file), section.text(key));
  }
  return files;
}

type TlsFile = 'tlsCert' | 'tlsKey' | 'tlsCa';

function userOf(section: Section): UserConfig {
  return {
    name: section.name,
    ...(section.isWritten('password') && { password: section.text('password') }),
    ...(section.isWritten('auth') && { auth: section.text('auth') }),
    allow: section.list('allow'),
    maxConnections: section.number('max_connections'),
    listeners: section.list('listeners'),
  };
}

function ruleOf(section: Section): RuleConfig {
  return {
    name: section.name,
    ...(section.isWritten('user') && { user: section.text('user') }),
    ...(section.isWritten('listener') && { listener: section.text('listener') }),
    ...(section.isWritten('digest') && { digest: section.text('digest') }),
    target: section.text('target') as RuleConfig['target'],
  };
}

function peerOf(section: Section, context: ConfigContext): Pick<ProxyConfig, 'peer'> {
  if (!section.isWritten('address')) return {};
  const peer = {
    address: section.list('address'),
    user: section.text('user'),
    password: section.text('password'),
    ...tlsFilesOf(section, context),
    peerTimeoutMs: section.number('peer_timeout'),
  };
  return { peer };
}

function keepalivedOf(section: Section, context: ConfigContext): KeepalivedConfig {
  return {
    vip: section.list('vip'),
    ...(section.isWritten('interface') && { interface: section.text('interface') }),
    ...(section.isWritten('gateway') && { gateway: section.text('gateway') }),
    hosts: section.list('hosts'),
    unicast: section.flag('unicast'),
    virtualRouterId: section.number('virtual_router_id'),
    instance: section.text('instance'),
    priority: section.number('priority'),
    advertIntMs: section.number('advert_int'),
    vipLayout: section.text('vip_layout') as KeepalivedConfig['vipLayout'],
    checkTimeoutMs: section.number('check_timeout'),
    ...(section.isWritten('notify_command') && { notifyCommand: section.text('notify_command') }),
    notifyTimeoutMs: section.number('notify_timeout'),
    ...(section.isWritten('haconf') && {
      haconf: resolve(dirname(context.file), section.text('haconf')),
    }),
  };
}
