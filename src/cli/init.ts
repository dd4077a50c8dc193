/**
 * `dbproxy init`: looks which of the two hosts this is and writes the first files of a pair. Nothing that is there is
 * written over.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { canonicalAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { isRefusal } from '../base/errors.ts';
import { messageOf } from '../base/message-of.ts';
import { parseConfig } from '../config/load.ts';
import { makeCertificate } from '../setup/certificate.ts';
import { defaultGateway, firstFiles, type FirstFile } from '../setup/first-pair.ts';

export interface InitOptions {
  readonly hosts: readonly [string, string];
  /** With or without a prefix. */
  readonly vips: readonly string[];
  readonly directory: string;
}

/** Words for people: what was written and what is next, or why nothing was. */
export type InitOutcome = { readonly outcome: 'done' | 'refused'; readonly text: string };

const ROUTES = '/proc/net/route';
const PASSWORD_BYTES = 18;
const DAY_MS = 86_400_000;
const CERTIFICATE_MS = 10 * 365 * DAY_MS;
/** The owner, who is root, writes; the group, which is the service's, reads. */
const FILE_MODE = 0o640;

export function initPair({ hosts, vips, directory }: InitOptions, clock: Clock): InitOutcome {
  const refused = (text: string): InitOutcome => ({ outcome: 'refused', text });
  const own = ownPlace(hosts);
  if (own === null) {
    const words = `neither ${hosts.join(' nor ')} is an address of this host`;
    return refused(`${words}, which has ${ownAddresses().join(', ')}: --hosts=IP,IP, host 1 first`);
  }
  if (!existsSync(directory))
    return refused(`there is no folder ${directory}; scripts/install.sh makes /etc/dbproxy`);
  const gateway = defaultGateway(readFileSync(ROUTES, 'utf8'), own.interfaceName);
  const files = firstFiles({
    hosts,
    vips: vips.map((vip) => (vip.includes('/') ? vip : `${vip}/${own.prefix}`)),
    interfaceName: own.interfaceName,
    gateway,
    makePassword: () => randomBytes(PASSWORD_BYTES).toString('base64url'),
    certificate: makeCertificate({
      commonName: 'dbproxy',
      dnsNames: [],
      ipAddresses: hosts,
      // The clock of the other host may be behind.
      notBefore: new Date(clock.wallMs() - DAY_MS),
      notAfter: new Date(clock.wallMs() + CERTIFICATE_MS),
    }),
  });
  const problem = problemOf(files) ?? obstacleIn(directory, files) ?? writeAll(directory, files);
  if (problem !== null) return refused(problem);
  return { outcome: 'done', text: summary(directory, hosts, own, gateway) };
}

interface OwnPlace {
  readonly address: string;
  readonly interfaceName: string;
  readonly prefix: string;
}

/** Where this host has one of the two addresses; null: nowhere. */
function ownPlace(hosts: readonly string[]): OwnPlace | null {
  const wanted = new Set(hosts.map(canonicalAddress));
  for (const [interfaceName, addresses = []] of Object.entries(networkInterfaces())) {
    const found = addresses.find(({ address }) => wanted.has(address));
    if (found !== undefined)
      return { address: found.address, interfaceName, prefix: found.cidr!.split('/')[1]! };
  }
  return null;
}

function ownAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses = []) => addresses);
  return all.filter(({ internal }) => !internal).map(({ address }) => address);
}

/** What is wrong with the addresses, in the words of `check-config`. */
function problemOf(files: readonly FirstFile[]): string | null {
  const textOf = (wanted: string): string => files.find(({ name }) => name === wanted)!.text;
  try {
    parseConfig(textOf('proxy.conf'), { file: 'proxy.conf', env: {}, readFile: textOf, cores: 1 });
    return null;
  } catch (error) {
    if (isRefusal(error)) return error.message;
    throw error;
  }
}

function obstacleIn(directory: string, files: readonly FirstFile[]): string | null {
  const there = files.map(({ name }) => join(directory, name)).find((path) => existsSync(path));
  return there === undefined ? null : `${there} is there already; nothing was written`;
}

/** All of them or none; why not, or null. */
function writeAll(directory: string, files: readonly FirstFile[]): string | null {
  const written: string[] = [];
  try {
    for (const { name, text } of files) {
      const path = join(directory, name);
      writeFileSync(path, '', { mode: FILE_MODE, flag: 'wx' });
      written.push(path);
      // Whatever the umask is, the service has to read it.
      chmodSync(path, FILE_MODE);
      writeFileSync(path, text);
    }
    return null;
  } catch (error) {
    for (const path of written) rmSync(path, { force: true });
    return `${directory} does not take the files: ${messageOf(error)}; nothing was written`;
  }
}

function summary(
  directory: string,
  hosts: readonly string[],
  { address, interfaceName }: OwnPlace,
  gateway: string | null,
): string {
  const other = hosts.find((host) => canonicalAddress(host) !== address)!;
  const lines = [
    `${directory} has now, for this host and for ${other}:`,
    `  proxy.conf           the configuration, with new passwords (${interfaceName}, gateway ${gateway ?? 'none: see there'})`,
    '  admin.pem admin.key  the certificate of the admin ports, good for ten years',
    '  mariadb.cnf          what both servers have to be; each needs a server_id of its own besides',
    "  accounts.sql         makes dbproxy's accounts, on both servers: mariadb < accounts.sql",
    `Copy them: scp -p ${directory}/* ${other}:${directory}/`,
  ];
  return lines.join('\n');
}
