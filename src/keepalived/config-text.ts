/**
 * keepalived.conf for one host of the pair, out of proxy.conf. The same proxy.conf serves both hosts: which of the
 * two this one is, is all that differs. Each line that is no matter of course says what it is for;
 * docs/keepalived.md has the long story.
 */
import { isIPv4 } from 'node:net';
import { join } from 'node:path';
import { refusal } from '../base/errors.ts';
import type { KeepalivedConfig, ProxyConfig } from '../config/config.ts';
import { vipAddress, vipKind } from '../config/virtual-addresses.ts';

export type HostNumber = 1 | 2;

/** What the text depends on. */
export interface TextSource {
  readonly config: Pick<ProxyConfig, 'keepalived' | 'listeners' | 'dbproxy'>;
  readonly configPath: string;
  /** How this program is started: Node.js and the program's file. */
  readonly program: readonly string[];
  readonly hostname: string;
  readonly host: HostNumber | null;
}

/** One VRRP instance. */
interface Instance {
  readonly name: string;
  readonly routerId: number;
  readonly vips: readonly string[];
  /** The host that gets it when both start at once. */
  readonly prefers: HostNumber;
}

/** How far the host that is not preferred stands behind. */
const PRIORITY_STEP = 10;
const ADVERT_DIGITS = 2;
/** What passes through keepalived's reader and its splitting into arguments as it stands. */
const PLAIN_WORD = /^[A-Za-z0-9_./:+,=-]+$/;

/** Which of the two this host is: what was said, else by its own addresses; null where nothing tells. */
export function whichHost(
  given: HostNumber | undefined,
  hosts: readonly string[],
  own: readonly string[],
): HostNumber | null {
  if (given !== undefined) return given;
  const index = hosts.findIndex((host) => own.includes(host));
  return index === -1 ? null : index === 0 ? 1 : 2;
}

/** The whole text; throws DBPROXY_CONFIG where there is none to be made. */
export function keepalivedText(source: TextSource): string {
  const { keepalived } = source.config;
  const complaint = complaintAbout(source);
  if (complaint !== null) throw refusal('DBPROXY_CONFIG', `${source.configPath}: [keepalived] ${complaint}`);
  return [
    `# Made by: dbproxy keepalived config --config ${source.configPath}${hostWords(source.host)}`,
    '# Do not edit: change proxy.conf and make it anew. What each line is for: docs/keepalived.md',
    '',
    ...globals(source),
    '',
    ...checkScript(source),
    '',
    ...instancesOf(source.config).flatMap((instance) => [
      ...trackFile(source, instance),
      '',
      ...vrrpInstance(source, keepalived, instance),
      '',
    ]),
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');
}

function complaintAbout({
  config: { keepalived, dbproxy },
  host,
  configPath,
  program,
}: TextSource): string | null {
  if (keepalived.vip.length === 0) return 'vip: is missing, so there is nothing for keepalived to do';
  if (host === null && keepalived.hosts.length > 0)
    return `hosts: neither ${keepalived.hosts.join(' nor ')} is an address of this host; give --host 1 or --host 2`;
  if (host === null && keepalived.vipLayout === 'apart')
    return 'vip_layout: apart needs to know which host this is; give --host 1 or --host 2, or name both in hosts';
  const odd = [configPath, dbproxy.stateDir, ...program].find((path) => !PLAIN_WORD.test(path));
  return odd === undefined
    ? null
    : `the path '${odd}' has characters that keepalived reads in its own way; use another`;
}

function hostWords(host: HostNumber | null): string {
  return host === null ? '' : ` --host ${host}`;
}

/** One instance for all, or one for writes that prefers host 1 and one for reads that prefers host 2. */
export function instancesOf({ keepalived, listeners }: TextSource['config']): Instance[] {
  const { instance: name, virtualRouterId: routerId, vip: vips } = keepalived;
  if (keepalived.vipLayout === 'together') return [{ name, routerId, vips, prefers: 1 }];
  const of = (kind: 'write' | 'read'): string[] => vips.filter((vip) => vipKind(vip, listeners) === kind);
  return [
    { name, routerId, vips: of('write'), prefers: 1 },
    { name: `${name}_read`, routerId: routerId + 1, vips: of('read'), prefers: 2 },
  ];
}

function globals({ hostname }: TextSource): string[] {
  return [
    'global_defs {',
    `    router_id ${hostname.replaceAll(/[^A-Za-z0-9_.-]/g, '_')}`,
    '    vrrp_version 3',
    '    # Who may write a script that runs as root is root.',
    '    enable_script_security',
    '    script_user root',
    '    # Tells the neighbours again where the addresses are, now and then,',
    '    vrrp_garp_master_refresh 10',
    '    # and at once, and a second later, when a cut has healed behind which both hosts had them: who gives them',
    '    # up is heard once more, and that has the other one tell.',
    '    vrrp_higher_prio_send_advert true',
    '    vrrp_garp_lower_prio_delay 1',
    '}',
  ];
}

/** Runs a program before all others; root may. */
const HURRIED = '/usr/bin/nice -n -20';

function checkScript(source: TextSource): string[] {
  return [
    'vrrp_script dbproxy_check {',
    '    # Before all others: on a busy host its answer would come too late.',
    `    script "${HURRIED} ${command(source, 'check')}"`,
    '    interval 1',
    '    timeout 3',
    '    # So long a dbproxy may be away that is restarted in place.',
    '    fall 3',
    '    rise 2',
    '}',
  ];
}

/** The file by which an operator, or a script, sends the addresses away: anything but 0 in it. */
function trackFile({ config }: TextSource, instance: Instance): string[] {
  return [
    `track_file ${instance.name}_away {`,
    `    file "${join(config.dbproxy.stateDir, `${instance.name}.away`)}"`,
    '    weight 0',
    '    init_file 0',
    '}',
  ];
}

function vrrpInstance(source: TextSource, keepalived: KeepalivedConfig, instance: Instance): string[] {
  const { host } = source;
  const isPreferred = host === null || host === instance.prefers;
  const priority = isPreferred ? keepalived.priority : keepalived.priority - PRIORITY_STEP;
  // One instance speaks one kind of IP; the others come and go with it.
  const isFirstKind = (vip: string): boolean =>
    isIPv4(vipAddress(vip)) === isIPv4(vipAddress(instance.vips[0]!));
  const excluded = instance.vips.filter((vip) => !isFirstKind(vip));
  return [
    `vrrp_instance ${instance.name} {`,
    '    # Nobody takes the addresses from a host that is well: both begin as backups.',
    '    state BACKUP',
    '    nopreempt',
    `    interface ${keepalived.interface!}`,
    `    virtual_router_id ${instance.routerId}`,
    `    priority ${priority}`,
    `    advert_int ${(keepalived.advertIntMs / 1000).toFixed(ADVERT_DIGITS)}`,
    ...unicast(keepalived, host),
    ...block(
      'virtual_ipaddress',
      instance.vips.filter(isFirstKind).map((vip) => `${vip} dev ${keepalived.interface!}`),
    ),
    ...block(
      'virtual_ipaddress_excluded',
      excluded.map((vip) => `${vip} dev ${keepalived.interface!}`),
    ),
    ...notifyLines(source, instance),
    ...block('track_script', ['dbproxy_check']),
    ...block('track_file', [`${instance.name}_away`]),
    '}',
  ];
}

/** keepalived runs these when the instance changes; when it stops, the addresses are gone as in a backup. */
function notifyLines(source: TextSource, { vips }: Instance): string[] {
  const { gateway } = source.config.keepalived;
  const gatewayWord = gateway === undefined ? [] : [`--gw=${gateway}`];
  const line = (event: string, state: string): string => {
    const words = [`--state=${state}`, `--vip=${vips.map(vipAddress).join(',')}`, ...gatewayWord];
    return `    notify_${event} "${command(source, 'notify', ...words)}"`;
  };
  return [line('master', 'master'), line('backup', 'backup'), line('fault', 'fault'), line('stop', 'backup')];
}

function unicast({ unicast: isOn, hosts }: KeepalivedConfig, host: HostNumber | null): string[] {
  if (!isOn || host === null) return [];
  const [own, peer] = host === 1 ? hosts : hosts.toReversed();
  return [`    unicast_src_ip ${own}`, ...block('unicast_peer', [peer!])];
}

function block(name: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`    ${name} {`, ...lines.map((line) => `        ${line}`), '    }'];
}

function command({ program, configPath }: TextSource, ...words: readonly string[]): string {
  return [...program, 'keepalived', ...words, '--config', configPath].join(' ');
}
