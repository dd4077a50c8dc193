/**
 * What the sections of a file must be together: names that exist, addresses that do not collide, limits
 * in the right order. Each rule is one function over the sections; values that are wrong for themselves
 * are absent here and are passed over.
 */
import { messageOf } from '../base/message-of.ts';
import { formatEndpoint, networkList, type Endpoint } from '../base/address.ts';
import { authoritiesProblem, keyPairProblem, outOfTime } from '../base/key-pair.ts';
import { votingArbiter } from './arbiter.ts';
import type { Problem } from './ini.ts';
import { keyRows, sectionRows, type SectionRow } from './keys.ts';
import { problemAt, type ConfigContext, type Section } from './section.ts';
import { keepalivedIsWhole, vipsWithoutListener } from './check-keepalived.ts';
import { didYouMean } from './suggest.ts';
import { formatDuration, type Value } from './values.ts';

type Rule = (sections: readonly Section[], context: ConfigContext) => Problem[];

const rules: readonly Rule[] = [
  somethingToDo,
  referencesExist,
  clustersHaveBackends,
  limitsInOrder,
  autoFailoverHasArbiter,
  etcdIsAsked,
  followersTakeNoTraffic,
  channelsHaveNames,
  usersHaveOneSecret,
  causalReadsHaveReplicas,
  markedCommitsAreWrites,
  pipeliningIsPossible,
  rulesSayWhat,
  listenAddressesDiffer,
  backendAddressesDiffer,
  tlsHasItsFiles,
  tlsFilesFit,
  keepalivedIsWhole,
  peerIsWhole,
];

/** All that is wrong with the sections together. */
export function checkTogether(sections: readonly Section[], context: ConfigContext): Problem[] {
  return rules.flatMap((rule) => rule(sections, context));
}

/** What an operator should know of a configuration that has no errors. */
export function notesOf(sections: readonly Section[], context: ConfigContext): string[] {
  return [
    ...otherDefaults(sections),
    ...writersWithoutPrimary(sections),
    ...certificatesOutOfTime(sections, context),
    ...vipsWithoutListener(sections),
  ];
}

/** A proxy without one of these could serve nobody; users may come from the servers instead. */
function somethingToDo(sections: readonly Section[]): Problem[] {
  const needed = sectionRows.filter((row) => isNeeded(row, sections));
  return needed
    .filter((row) => !sections.some((section) => section.kind === row.kind))
    .map((row) => ({
      line: 1,
      text: `[${row.kind} NAME]: there is none; at least one is needed (${row.help})`,
    }));
}

function isNeeded({ kind, named }: SectionRow, sections: readonly Section[]): boolean {
  if (!named || kind === 'rule') return false;
  return kind !== 'user' || usersAreListed(sections);
}

function referencesExist(sections: readonly Section[]): Problem[] {
  const problems: Problem[] = [];
  for (const section of sections) {
    for (const row of keyRows) {
      if (row.section !== section.kind || row.type.kind !== 'reference') continue;
      const { to } = row.type;
      const known = sections.filter((other) => other.kind === to).map((other) => other.name);
      const named = section.value(row.name);
      for (const name of Array.isArray(named) ? named : typeof named === 'string' ? [named] : []) {
        if (known.includes(name)) continue;
        const text = `there is no [${to} ${name}]${didYouMean(name, known)}`;
        problems.push(problemAt(section, row.name, text));
      }
    }
  }
  return problems;
}

function clustersHaveBackends(sections: readonly Section[]): Problem[] {
  return sections
    .filter((section) => section.kind === 'cluster')
    .filter(
      (cluster) =>
        !sections.some((other) => other.kind === 'backend' && other.value('cluster') === cluster.name),
    )
    .map((cluster) => ({
      line: cluster.line,
      text: `${cluster.label}: has no [backend NAME] with cluster = ${cluster.name}`,
    }));
}

/**
 * Who fails over by itself must be able to tell that it is not the one that is cut off. Where all servers of
 * the cluster are on this very host, there is nothing to be cut off from.
 */
function autoFailoverHasArbiter(sections: readonly Section[]): Problem[] {
  return sections.flatMap((cluster) => {
    if (cluster.kind !== 'cluster' || cluster.value('failover') !== 'auto') return [];
    const arbiter = cluster.value('arbiter');
    if (!Array.isArray(arbiter) || arbiter.length > 0) return [];
    const elsewhere = sections.find(
      (backend) =>
        backend.kind === 'backend' && backend.value('cluster') === cluster.name && !isOnThisHost(backend),
    );
    if (elsewhere === undefined) return [];
    const text = `auto needs an arbiter, as ${elsewhere.label} is on another host: a dbproxy that is cut off would take its primary for dead; add arbiter = ping:IP, tcp:IP:PORT or etcd:URL of a third party, such as the gateway, or write failover = manual`;
    return [problemAt(cluster, 'failover', text)];
  });
}

/** An account for nobody, and authorities that nobody is asked about, are a mistake somewhere else. */
function etcdIsAsked(sections: readonly Section[], context: ConfigContext): Problem[] {
  return sections.flatMap((cluster) => {
    const arbiter = cluster.kind === 'cluster' ? cluster.value('arbiter') : undefined;
    if (!Array.isArray(arbiter)) return [];
    const etcd = votingArbiter(arbiter);
    const written = ['etcd_user', 'etcd_password', 'etcd_ca', 'arbiter_lease'].filter((key) =>
      cluster.isWritten(key),
    );
    if (etcd === undefined)
      return written.map((key) =>
        problemAt(cluster, key, 'is of arbiter = etcd:URL only, and there is none'),
      );
    const problems: Problem[] = [];
    if (cluster.isWritten('etcd_user') && !cluster.isWritten('etcd_password'))
      problems.push(problemAt(cluster, 'etcd_user', 'is given without etcd_password'));
    if (cluster.isWritten('etcd_password') && !cluster.isWritten('etcd_user'))
      problems.push(problemAt(cluster, 'etcd_password', 'is given without etcd_user'));
    if (cluster.isWritten('etcd_ca') && etcd.urls.some((url) => url.startsWith('http:')))
      problems.push(problemAt(cluster, 'etcd_ca', 'is of https://… only, and arbiter has http://…'));
    const ca =
      context.ignoresCertificates === true ? null : readTlsFile(cluster, 'etcd_ca', context, problems);
    const caProblem = ca === null ? null : authoritiesProblem(ca);
    if (caProblem !== null) problems.push(problemAt(cluster, 'etcd_ca', caProblem));
    return problems;
  });
}

/** A backend whose address is wrong for itself is passed over. */
function isOnThisHost(backend: Section): boolean {
  if (backend.value('address') === undefined) return true;
  return isLocalEndpoint(backend.endpoint('address'));
}

const LOOPBACK = networkList(['127.0.0.0/8', '::1']);

/** What is wrong with a backend by itself, without the rest of the file. */
export function problemsOfBackend(section: Section): string[] {
  return [...followersTakeNoTraffic([section]), ...channelsHaveNames([section])].map(({ text }) => text);
}

/** True when nothing lies between this host and the address. */
export function isLocalEndpoint(address: Endpoint): boolean {
  return address.kind === 'unix' || address.host === 'localhost' || LOOPBACK.contains(address.host);
}

/** The other keys would be promises that it cannot keep. */
function followersTakeNoTraffic(sections: readonly Section[]): Problem[] {
  return sections.flatMap((backend) => {
    if (backend.kind !== 'backend' || backend.value('follow') !== true) return [];
    return ['rw_weight', 'ro_weight'].flatMap((key) => {
      const weight = backend.value(key);
      if (typeof weight !== 'number' || weight === 0) return [];
      return [
        problemAt(backend, key, `${weight} does not go with follow = on, which takes no traffic; write 0`),
      ];
    });
  });
}

/** What both families take as a name, and what needs no care in a statement. */
function channelsHaveNames(sections: readonly Section[]): Problem[] {
  return sections.flatMap((backend) => {
    const channel = backend.kind === 'backend' ? backend.value('channel') : undefined;
    if (typeof channel !== 'string' || /^[A-Za-z0-9_-]{1,64}$/.test(channel)) return [];
    return [
      problemAt(
        backend,
        'channel',
        `'${channel}' has other characters than letters, digits, _ and -, or more than 64`,
      ),
    ];
  });
}

function limitsInOrder(sections: readonly Section[]): Problem[] {
  const pairs = [
    ['readmit_lag', 'max_lag'],
    ['check_fast_interval', 'check_interval'],
  ] as const;
  const problems: Problem[] = [];
  for (const section of sections) {
    if (section.kind !== 'cluster') continue;
    for (const [lower, upper] of pairs) {
      const low = section.value(lower);
      const high = section.value(upper);
      if (typeof low !== 'number' || typeof high !== 'number' || low <= high) continue;
      // The one that is written is the one to point at; the other may be a default.
      const culprit = section.isWritten(lower) ? lower : upper;
      const text = `${lower} = ${formatDuration(low)} must not be above ${upper} = ${formatDuration(high)}`;
      problems.push(problemAt(section, culprit, text));
    }
  }
  return problems;
}

function usersHaveOneSecret(sections: readonly Section[]): Problem[] {
  const problems: Problem[] = [];
  for (const section of sections) {
    if (section.kind !== 'user') continue;
    const both = section.isWritten('password') && section.isWritten('auth');
    if (both) problems.push(problemAt(section, 'auth', 'password is given too; one of them is enough'));
    if (!section.isWritten('password') && !section.isWritten('auth') && usersAreListed(sections)) {
      const text = 'is missing, and auth too; one of them is needed where a cluster has users = file';
      problems.push(problemAt(section, 'password', text));
    }
  }
  return problems;
}

/** Some cluster knows only the users of this file. */
function usersAreListed(sections: readonly Section[]): boolean {
  return sections.some((section) => section.kind === 'cluster' && section.value('users') === 'file');
}

/** On a write endpoint there is nothing that a read could have to wait for. */
function causalReadsHaveReplicas(sections: readonly Section[]): Problem[] {
  return sections
    .filter((section) => section.kind === 'listener' && section.value('mode') === 'write')
    .filter((listener) => isOneOf(listener.value('causal_reads'), ['session', 'global']))
    .map((listener) => {
      const text = `${listener.text('causal_reads')} has no meaning with mode = write: all its reads are on the primary; leave it out`;
      return problemAt(listener, 'causal_reads', text);
    });
}

function markedCommitsAreWrites(sections: readonly Section[]): Problem[] {
  return sections
    .filter((section) => section.kind === 'listener' && section.value('mode') === 'read')
    .filter((listener) => listener.value('mark_commits') === true)
    .map((listener) => {
      const text = 'on has no meaning with mode = read: nothing is committed there; leave it out';
      return problemAt(listener, 'mark_commits', text);
    });
}

/**
 * Sessions share a connection only where it is not theirs for their life, and only for reads. What has a
 * value that is wrong for itself is passed over.
 */
function pipeliningIsPossible(sections: readonly Section[]): Problem[] {
  const needs = [
    ['pool', 'session', 'pool = transaction'],
    ['mode', 'write', 'mode = split or mode = read'],
  ] as const;
  return sections
    .filter((section) => isOneOf(section.value('pipelining'), ['adaptive', 'on']))
    .flatMap((listener) => {
      const missing = needs.filter(([key, unfit]) => listener.value(key) === unfit);
      if (missing.length === 0) return [];
      const words = missing.map(([, , wanted]) => wanted).join(' and ');
      return [problemAt(listener, 'pipelining', `${listener.text('pipelining')} needs ${words}`)];
    });
}

function isOneOf(value: Value | undefined, words: readonly string[]): boolean {
  return typeof value === 'string' && words.includes(value);
}

/** A rule says for which statements it is, and can be met: only split endpoints have a choice to make. */
function rulesSayWhat(sections: readonly Section[]): Problem[] {
  const listeners = sections.filter((section) => section.kind === 'listener');
  const anySplit = listeners.some((listener) => listener.value('mode') === 'split');
  return sections.flatMap((section) => {
    if (section.kind !== 'rule') return [];
    const whole = (text: string): Problem[] => [{ line: section.line, text: `${section.label}: ${text}` }];
    if (!RULE_CONDITIONS.some((key) => section.isWritten(key))) {
      return whole(`says for no statement: at least one of ${RULE_CONDITIONS.join(', ')} is needed`);
    }
    const named = listeners.find((listener) => listener.name === section.value('listener'));
    const mode = named?.value('mode');
    if (mode === 'write' || mode === 'read') {
      const text = `${named!.label} has mode = ${mode}; rules are for listeners with mode = split`;
      return [problemAt(section, 'listener', text)];
    }
    return anySplit ? [] : whole('no listener has mode = split, so it would never be looked at');
  });
}

const RULE_CONDITIONS = ['user', 'listener', 'digest'] as const;

/** Something of ours that listens. */
interface Door {
  section: Section;
  address: Endpoint;
}

function doorsOf(sections: readonly Section[], kinds: readonly string[]): Door[] {
  return sections
    .filter((section) => kinds.includes(section.kind))
    .map((section) => ({ section, address: section.value('address') }))
    .filter((door): door is Door => typeof door.address === 'object' && !Array.isArray(door.address));
}

const LISTENING_KINDS = ['admin', 'http', 'listener'];

function listenAddressesDiffer(sections: readonly Section[]): Problem[] {
  return collisions(doorsOf(sections, LISTENING_KINDS), (one, other) => bindingsCollide(one, other));
}

function backendAddressesDiffer(sections: readonly Section[]): Problem[] {
  const listening = doorsOf(sections, LISTENING_KINDS);
  const backends = doorsOf(sections, ['backend']);
  const loops = backends.flatMap(({ section, address }) =>
    listening
      .filter((door) => formatEndpoint(door.address) === formatEndpoint(address))
      .map((door) =>
        problemAt(
          section,
          'address',
          `${formatEndpoint(address)} is where ${door.section.label} itself listens`,
        ),
      ),
  );
  const same = (one: Endpoint, other: Endpoint): boolean => formatEndpoint(one) === formatEndpoint(other);
  return [...collisions(backends, same), ...loops];
}

/** A problem at the later one of each two that collide; a third one is told of the first only. */
function collisions(doors: readonly Door[], collide: (one: Endpoint, other: Endpoint) => boolean): Problem[] {
  const problems: Problem[] = [];
  const ordered = doors.toSorted(
    (one, other) => one.section.lineOf('address') - other.section.lineOf('address'),
  );
  ordered.forEach((door, index) => {
    const earlier = ordered.slice(0, index).find((other) => collide(other.address, door.address));
    if (earlier === undefined) return;
    const text = `${formatEndpoint(door.address)} is taken by ${earlier.section.label} (${formatEndpoint(earlier.address)})`;
    problems.push(problemAt(door.section, 'address', text));
  });
  return problems;
}

/** The kernel would refuse to bind both: the same port on the same address or on a wildcard. */
function bindingsCollide(one: Endpoint, other: Endpoint): boolean {
  if (one.kind === 'unix' || other.kind === 'unix') return formatEndpoint(one) === formatEndpoint(other);
  if (one.port !== other.port) return false;
  return one.host === other.host || covers(one.host, other.host) || covers(other.host, one.host);
}

/** `[::]` takes IPv4 too. */
function covers(wildcard: string, host: string): boolean {
  return wildcard === '::' || (wildcard === '0.0.0.0' && !host.includes(':'));
}

/** Keys whose default is not what the contract says, because this version does not have that yet. */
function otherDefaults(sections: readonly Section[]): string[] {
  return keyRows
    .filter((row) => row.contractDefault !== undefined)
    .filter((row) => sections.some((section) => section.kind === row.section && !section.isWritten(row.name)))
    .map(
      (row) =>
        `[${row.section}] ${row.name} is ${row.default}: its usual default, ${row.contractDefault}, is not available in this version`,
    );
}

function writersWithoutPrimary(sections: readonly Section[]): string[] {
  const eligible = sections.filter(
    (section) => section.kind === 'backend' && section.value('rw_weight') !== 0,
  );
  return sections
    .filter((section) => section.kind === 'listener' && section.value('mode') === 'write')
    .filter((listener) => !eligible.some((backend) => backend.value('cluster') === listener.value('cluster')))
    .map(
      (listener) => `${listener.label} is for writes, but no backend of its cluster has rw_weight above 0`,
    );
}

/** The other of a pair is logged in to by an account that can do nothing else; who holds the VIP is in charge. */
function peerIsWhole(sections: readonly Section[]): Problem[] {
  const peer = sections.find(({ kind }) => kind === 'peer');
  const written = ['address', 'user', 'password', 'tls_ca', 'peer_timeout'].filter((key) =>
    peer?.isWritten(key),
  );
  if (peer === undefined || written.length === 0) return [];
  const missing = ['address', 'user', 'password'].filter((key) => !peer.isWritten(key));
  const problems = missing.map((key) => problemAt(peer, key, 'is missing; the other dbproxy needs it'));
  const admin = sections.find(({ kind }) => kind === 'admin');
  if (peer.isWritten('user') && peer.value('user') === admin?.value('user'))
    problems.push(problemAt(peer, 'user', 'is that of [admin]; the two need an account of their own'));
  if (sections.find(({ kind }) => kind === 'keepalived')?.isWritten('vip') !== true)
    problems.push(
      problemAt(peer, 'address', 'needs vip in [keepalived]: of a pair the one that has the address acts'),
    );
  if (peer.isWritten('tls_ca') && admin?.isWritten('tls_cert') !== true)
    problems.push(problemAt(peer, 'tls_ca', 'needs tls_cert in [admin]: without it there is no TLS'));
  return problems;
}

/** A listener that speaks TLS has a certificate; files that nobody would read are a mistake. */
function tlsHasItsFiles(sections: readonly Section[]): Problem[] {
  return tlsSections(sections).flatMap((section) => {
    const problems: Problem[] = [];
    const complain = (key: string, text: string): number => problems.push(problemAt(section, key, text));
    const tls = section.value('tls');
    const isOff = tls === 'off';
    const written = TLS_FILES.filter((key) => section.isWritten(key));
    if (section.kind === 'listener' && typeof tls === 'string' && !isOff) {
      for (const key of ['tls_cert', 'tls_key']) {
        if (!section.isWritten(key)) complain(key, `is missing; tls = ${tls} needs it`);
      }
    } else if (section.isWritten('tls_cert') && !section.isWritten('tls_key')) {
      complain('tls_cert', 'is given without tls_key');
    } else if (section.isWritten('tls_key') && !section.isWritten('tls_cert')) {
      complain('tls_key', 'is given without tls_cert');
    }
    if (isOff && written.length > 0) complain(written[0]!, 'is given, but tls is off');
    if (
      section.kind === 'backend' &&
      section.isWritten('tls_ca') &&
      typeof tls === 'string' &&
      !isOff &&
      tls !== 'verify'
    ) {
      complain('tls_ca', `is used by tls = verify only, and tls is ${section.text('tls')}`);
    }
    return problems;
  });
}

const TLS_FILES = ['tls_cert', 'tls_key', 'tls_ca'] as const;

/** Every file of TLS can be read, holds what it should, and key and certificate belong together. */
function tlsFilesFit(sections: readonly Section[], context: ConfigContext): Problem[] {
  if (context.ignoresCertificates === true) return [];
  return tlsSections(sections).flatMap((section) => {
    const problems: Problem[] = [];
    const cert = readTlsFile(section, 'tls_cert', context, problems);
    const key = readTlsFile(section, 'tls_key', context, problems);
    const ca = readTlsFile(section, 'tls_ca', context, problems);
    const pairProblem = cert === null || key === null ? null : keyPairProblem(cert, key);
    if (pairProblem !== null) problems.push(problemAt(section, 'tls_cert', pairProblem));
    const caProblem = ca === null ? null : authoritiesProblem(ca);
    if (caProblem !== null) problems.push(problemAt(section, 'tls_ca', caProblem));
    return problems;
  });
}

function tlsSections(sections: readonly Section[]): Section[] {
  return sections.filter(
    ({ kind }) => kind === 'peer' || kind === 'admin' || kind === 'listener' || kind === 'backend',
  );
}

/** The text of a file; null when the section has none, or when it cannot be read, which is a problem. */
function readTlsFile(
  section: Section,
  key: string,
  context: ConfigContext,
  problems: Problem[],
): string | null {
  const path = section.value(key);
  if (typeof path !== 'string') return null;
  try {
    return context.readFile(path);
  } catch (error) {
    const reason = messageOf(error);
    problems.push(problemAt(section, key, `the file '${path}' cannot be read: ${reason}`));
    return null;
  }
}

/** An expired certificate is no reason not to serve: clients that do not verify do not mind. */
function certificatesOutOfTime(sections: readonly Section[], context: ConfigContext): string[] {
  const { wallMs } = context;
  if (wallMs === undefined) return [];
  return tlsSections(sections).flatMap((section) => {
    const cert = readTlsFile(section, 'tls_cert', context, []);
    if (cert === null || authoritiesProblem(cert) !== null) return [];
    const problem = outOfTime(cert, wallMs);
    return problem === null ? [] : [`${section.label} tls_cert: ${problem}`];
  });
}
