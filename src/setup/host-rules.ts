/**
 * What would make the pair fail on the day, as far as it can be seen from this host: what keepalived needs, and whether
 * those answer who are asked before anything is done. Pure: a survey of the host goes in, findings come out.
 */
import type { ArbiterAnswer } from '../monitor/arbiter-answer.ts';
import type { PeerSight } from '../topology/peer-sight.ts';
import type { Finding, Severity } from './finding.ts';

/** keepalived's own file, beside what it should be. */
export type KeepalivedFile =
  | { readonly kind: 'same' }
  | { readonly kind: 'missing' | 'unreadable'; readonly path: string }
  /** The first line that differs; empty where one of them ends. */
  | { readonly kind: 'differs'; readonly path: string; readonly is: string; readonly wanted: string }
  /** There is nothing to compare it with, and why. */
  | { readonly kind: 'unknown'; readonly reason: string };

/** What an ARP probe said of a virtual address that this host does not have. */
export type VipAnswer =
  | { readonly kind: 'free' }
  | { readonly kind: 'taken'; readonly mac: string }
  | { readonly kind: 'unasked'; readonly reason: string };

/** What the file of operators says that somebody has to know of; null: there is none. */
export type OrdersSight =
  | { readonly path: string; readonly maintenance: boolean; readonly errorMode: boolean }
  | { readonly path: string; readonly problem: string };

/** Somebody who was asked whether he is there. */
export interface Answered {
  readonly name: string;
  readonly answer: ArbiterAnswer;
}

export interface HostSurvey {
  readonly version: string;
  readonly peer: PeerSight | null;
  /** By cluster. */
  readonly arbiters: ReadonlyMap<string, readonly Answered[]>;
  /** Null: no virtual addresses are configured, so this is no host of a pair. */
  readonly pair: PairSurvey | null;
}

export interface PairSurvey {
  readonly configPath: string;
  readonly interfaceName: string;
  /** The interfaces that this host has. */
  readonly interfaces: readonly string[];
  readonly gateway: Answered | null;
  /** Of `hosts`, those that are not this one, each with the MAC address that its own address is answered from; null: unknown. */
  readonly others: readonly (Answered & { readonly mac: string | null })[];
  readonly installed: boolean;
  readonly running: boolean;
  /** `Restart=` of its unit; null: there is none, or no systemd. */
  readonly restart: string | null;
  readonly file: KeepalivedFile;
  readonly orders: OrdersSight | null;
  /** By address; empty when nobody wanted that looked at. */
  readonly vips: ReadonlyMap<string, VipAnswer>;
}

const SUBJECT = 'host';
const DROP_IN = 'systemd/keepalived.service.d/dbproxy.conf';
const RENEW = 'dbproxy keepalived config --config';

/** What is wrong with this host. */
export function hostFindings({ arbiters, pair, peer, version }: HostSurvey): Finding[] {
  return [
    ...(peer === null ? [] : peerFindings(peer, version)),
    ...[...arbiters].flatMap(([cluster, answers]) => arbiterFindings(cluster, answers)),
    ...(pair === null ? [] : pairFindings(pair)),
  ];
}

/** One that answers is enough to act, and then the others are only missed when that one fails. */
function arbiterFindings(cluster: string, answers: readonly Answered[]): Finding[] {
  const noneAnswers = answers.every(({ answer }) => answer.kind !== 'reachable');
  return answers.flatMap(({ name, answer }) => {
    if (answer.kind === 'reachable') return [];
    const words = `arbiter ${name} ${answerWords(answer)}`;
    const effect = noneAnswers ? ': no failover happens by itself while none answers' : '';
    return [finding(noneAnswers ? 'error' : 'warning', 'arbiter', cluster, `${words}${effect}`, '')];
  });
}

function pairFindings(pair: PairSurvey): Finding[] {
  return [
    ...interfaceFindings(pair),
    ...gatewayFindings(pair),
    ...otherFindings(pair),
    ...keepalivedFindings(pair),
    ...ordersFindings(pair),
    ...vipFindings(pair),
  ];
}

/** Clocks are compared by people who read two logs, and by the cooldown of a failover. */
const MOST_CLOCK_MS = 500;

function peerFindings(peer: PeerSight, version: string): Finding[] {
  const who = `the other dbproxy (${peer.address})`;
  if (peer.kind === 'silent') {
    const words = `${who} was not reached: ${peer.reason}; without it nobody takes over, and each change waits for peer_timeout`;
    const remedy =
      'start it there; on both hosts the same user and password in [peer], and in [admin] an address and allow for the other host';
    return [finding('error', 'peer', SUBJECT, words, remedy)];
  }
  const findings: Finding[] = [];
  const { differing, clockAheadMs } = peer;
  if (differing.length > 0) {
    const words = `proxy.conf is another one there: ${differing.join(', ')}`;
    findings.push(
      finding('error', 'peer_config', SUBJECT, words, 'one file for both hosts; restart what was changed'),
    );
  }
  if (peer.version !== version) {
    const words = `${who} is of version ${peer.version ?? 'before this one'}, and this one of ${version}`;
    findings.push(finding('warning', 'peer_version', SUBJECT, words, 'upgrade the older one'));
  }
  if (clockAheadMs !== null && Math.abs(clockAheadMs) > MOST_CLOCK_MS) {
    const side = clockAheadMs > 0 ? 'ahead of' : 'behind';
    const words = `the clock of its host is ${Math.abs(clockAheadMs)} ms ${side} this one`;
    findings.push(finding('warning', 'peer_clock', SUBJECT, words, 'apt-get install chrony, on both hosts'));
  }
  return findings;
}

function interfaceFindings({ interfaceName, interfaces }: PairSurvey): Finding[] {
  if (interfaces.includes(interfaceName)) return [];
  const words = `this host has no interface ${interfaceName}, so it cannot have the virtual addresses; it has ${interfaces.join(', ')}`;
  return [finding('error', 'interface', SUBJECT, words, '[keepalived] interface = (one of these)')];
}

function gatewayFindings({ gateway }: PairSurvey): Finding[] {
  if (gateway === null) {
    const words =
      'no gateway: a host that is cut off keeps the virtual addresses, while the other one takes them as well';
    return [
      finding(
        'warning',
        'gateway',
        SUBJECT,
        words,
        '[keepalived] gateway = (an address that both hosts reach)',
      ),
    ];
  }
  const { name, answer } = gateway;
  switch (answer.kind) {
    case 'reachable':
      return [];
    case 'unreachable': {
      const words = `gateway ${name} ${answerWords(answer)}: this host gives up the virtual addresses`;
      return [finding('error', 'gateway', SUBJECT, words, `ping -c 1 ${name}`)];
    }
    case 'broken': {
      const words = `gateway ${name} ${answerWords(answer)}: this host would not notice that it is cut off`;
      return [finding('warning', 'gateway', SUBJECT, words, 'apt-get install iputils-ping')];
    }
  }
}

function otherFindings({ others }: PairSurvey): Finding[] {
  return others.flatMap(({ name, answer }) => {
    if (answer.kind === 'reachable') return [];
    const words = `the other host ${name} ${answerWords(answer)}: each of the two would take itself for the only one`;
    return [finding('warning', 'other_host', SUBJECT, words, `ping -c 1 ${name}`)];
  });
}

function keepalivedFindings({ installed, running, restart, file, configPath }: PairSurvey): Finding[] {
  if (!installed) {
    const words = 'keepalived is not installed: nobody sets the virtual addresses';
    return [finding('error', 'keepalived', SUBJECT, words, 'apt-get install keepalived')];
  }
  const findings = fileFindings(file, configPath);
  if (!running) {
    const words = 'keepalived does not run: nobody sets the virtual addresses of this host';
    findings.push(finding('error', 'keepalived', SUBJECT, words, 'systemctl enable --now keepalived'));
  }
  if (restart === 'no') {
    const words =
      'systemd does not start keepalived again when it is killed: it leaves its virtual addresses here, the other host takes them as well, and no writes are taken until somebody starts it';
    const remedy = `install -Dm 0644 /opt/dbproxy/contrib/${DROP_IN} /etc/systemd/system/${DROP_IN.replace('systemd/', '')} && systemctl daemon-reload`;
    findings.push(finding('warning', 'keepalived_restart', SUBJECT, words, remedy));
  }
  return findings;
}

function fileFindings(file: KeepalivedFile, configPath: string): Finding[] {
  switch (file.kind) {
    case 'same':
      return [];
    case 'missing': {
      const remedy = `${RENEW} ${configPath} > ${file.path} && systemctl restart keepalived`;
      return [finding('error', 'keepalived_conf', SUBJECT, `${file.path} is not there`, remedy)];
    }
    case 'unreadable': {
      const words = `${file.path} cannot be read by this user, so it was not compared with proxy.conf`;
      return [finding('hint', 'keepalived_conf', SUBJECT, words, 'run the doctor as root')];
    }
    case 'differs': {
      const line = (text: string): string => (text === '' ? 'nothing more' : `'${text}'`);
      const words = `${file.path} is not what proxy.conf makes of it: it has ${line(file.is)} where ${line(file.wanted)} should be`;
      const remedy = `${RENEW} ${configPath} > ${file.path} && systemctl reload keepalived`;
      return [finding('warning', 'keepalived_conf', SUBJECT, words, remedy)];
    }
    case 'unknown':
      return [finding('error', 'keepalived_conf', SUBJECT, file.reason, '')];
  }
}

/** An order that was forgotten is one that is carried out on the day. */
function ordersFindings({ orders }: PairSurvey): Finding[] {
  if (orders === null) return [];
  const { path } = orders;
  if ('problem' in orders) {
    const words = `${orders.problem}: no order in it is carried out`;
    return [finding('error', 'haconf', SUBJECT, words, `mend ${path}`)];
  }
  const order = (words: string, column: number): Finding =>
    finding('warning', 'haconf', SUBJECT, words, `column ${column} of ${path}: N`);
  return [
    ...(orders.maintenance
      ? [order('maintenance is on: the dbproxy of this host does nothing by itself', 1)]
      : []),
    ...(orders.errorMode
      ? [order('error mode is on: this host does not have the virtual addresses', 7)]
      : []),
  ];
}

/** The other host may well have an address; nobody else may. */
function vipFindings({ vips, others }: PairSurvey): Finding[] {
  return [...vips].flatMap(([address, answer]) => {
    switch (answer.kind) {
      case 'free':
        return [];
      case 'unasked': {
        const words = `whether somebody has ${address} already could not be asked: ${answer.reason}`;
        return [finding('hint', 'vip_in_use', SUBJECT, words, '')];
      }
      case 'taken': {
        if (others.some(({ mac }) => mac === answer.mac)) return [];
        const isKnown = others.length > 0 && others.every(({ mac }) => mac !== null);
        const who = isKnown ? 'which is not the other host' : 'is that the other host?';
        const words = `${answer.mac} has ${address} already (${who}): connections would end at either`;
        const remedy = `give that machine another address, or change [keepalived] vip`;
        return [finding(isKnown ? 'error' : 'warning', 'vip_in_use', SUBJECT, words, remedy)];
      }
    }
  });
}

function answerWords(answer: ArbiterAnswer): string {
  switch (answer.kind) {
    case 'reachable':
      return 'answers';
    case 'unreachable':
      return `does not answer (${answer.reason})`;
    case 'broken':
      return `could not be asked (${answer.reason})`;
  }
}

function finding(severity: Severity, id: string, subject: string, words: string, remedy: string): Finding {
  return { severity, id, subject, words, remedy, blocksBootstrap: false };
}

/** Compares what keepalived reads of two files: neither comments nor blanks. */
export function compareKeepalived(path: string, is: string, wanted: string): KeepalivedFile {
  const [own, made] = [is, wanted].map(meaningfulLines) as [string[], string[]];
  const length = Math.max(own.length, made.length);
  for (let index = 0; index < length; index++) {
    const [one, other] = [own[index] ?? '', made[index] ?? ''];
    if (one !== other) return { kind: 'differs', path, is: one, wanted: other };
  }
  return { kind: 'same' };
}

/** `#` and `!` begin comments there. */
function meaningfulLines(text: string): string[] {
  return text
    .split('\n')
    .map((line) =>
      line
        .replace(/(^|\s)[#!].*/, '')
        .trim()
        .replaceAll(/\s+/g, ' '),
    )
    .filter((line) => line !== '');
}

/** `Restart=` out of `systemctl show -p LoadState,Restart UNIT`; null: there is no such unit. */
export function readRestart(status: number | null, output: string): string | null {
  if (status !== 0 || !/^LoadState=loaded$/m.test(output)) return null;
  return /^Restart=(.+)$/m.exec(output)?.[1] ?? null;
}

/**
 * What iputils' `arping -D` found. Another program of that name says other things, so the exit code alone is no answer: 0
 * means that nobody answered with this one, and that somebody did with that one.
 */
export function readArping(status: number | null, output: string): VipAnswer {
  const mac = /^Unicast reply from \S+ \[([0-9a-f:]{17})\]/im.exec(output)?.[1]?.toLowerCase();
  if (mac !== undefined) return { kind: 'taken', mac };
  if (/^Received 0 response/m.test(output)) return { kind: 'free' };
  return {
    kind: 'unasked',
    reason: `arping ended with ${status}: ${output.trim().split('\n').at(-1) ?? ''}`,
  };
}
