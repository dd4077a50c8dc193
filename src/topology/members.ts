/**
 * Which backends there are: those of the file, without those that were dropped at run time, and those that were
 * added. What was said at run time wins over the file, as it does with weights, until it is taken back at run time:
 *
 * 1. A backend that was added is there under the name and address that it was given. A section of the same name and
 *    address says the rest; one that has only the name, or only the address, is not used.
 * 2. A backend that was dropped stays away as long as the file has it under the same address.
 * 3. One whose cluster the file does not have any more is not there.
 */
import { formatEndpoint, type Endpoint } from '../base/address.ts';
import { isLocalEndpoint } from '../config/check.ts';
import type { BackendConfig, ProxyConfig } from '../config/config.ts';
import { fieldOf, keysOf } from '../config/keys.ts';
import { readBackend } from '../config/load.ts';
import type { DurableState, WrittenKeys } from './state-file.ts';

type Membership = Pick<DurableState, 'added' | 'dropped'>;

/** The backends in force. */
export function membersInForce(
  { clusters, backends }: Pick<ProxyConfig, 'clusters' | 'backends'>,
  { added = {}, dropped = {} }: Membership,
): BackendConfig[] {
  const joined = Object.entries(added).flatMap(([name, written]): BackendConfig[] => {
    const read = readBackend(name, written);
    if ('problems' in read || !clusters.some((cluster) => cluster.name === read.backend.cluster)) return [];
    const section = backends.find((one) => isSameServer(one, read.backend));
    return [section === undefined ? read.backend : { ...section, ...writtenOf(read.backend, written) }];
  });
  const kept = backends.filter(
    (backend) =>
      dropped[backend.name] !== formatEndpoint(backend.address) &&
      !joined.some((one) => one.name === backend.name || isAt(one, backend.address)),
  );
  return [...kept, ...joined];
}

/** Sections of the file that an added backend stands in the way of, in words. */
export function unusedSections(
  backends: readonly BackendConfig[],
  members: readonly BackendConfig[],
  { added = {} }: Membership,
): string[] {
  const joined = members.filter(({ name }) => added[name] !== undefined);
  return backends.flatMap((section) => {
    const other = joined.find((one) => one.name === section.name || isAt(one, section.address));
    if (other === undefined || isSameServer(other, section)) return [];
    return [
      `[backend ${section.name}] at ${formatEndpoint(section.address)} is not used: ${other.name} was added at ${formatEndpoint(other.address)} at run time; DROP BACKEND ${other.name} lets it count`,
    ];
  });
}

/** What speaks against adding a backend with these keys, in words; empty: nothing. */
export function objectionsToAdding(
  name: string,
  written: WrittenKeys,
  members: readonly BackendConfig[],
  { clusters, listeners, admin, http }: Pick<ProxyConfig, 'clusters' | 'listeners' | 'admin' | 'http'>,
): string[] {
  const read = readBackend(name, written);
  if ('problems' in read) return read.problems;
  const { address, cluster: clusterName } = read.backend;
  const objections: string[] = [];
  const cluster = clusters.find((one) => one.name === clusterName);
  if (cluster === undefined) {
    objections.push(`there is no cluster ${clusterName}, only ${clusters.map((one) => one.name).join(', ')}`);
  }
  if (members.some((member) => member.name === name)) objections.push(`there is a backend ${name} already`);
  const at = formatEndpoint(address);
  const twin = members.find((member) => member.name !== name && isAt(member, address));
  if (twin !== undefined) objections.push(`${at} is ${twin.name} already`);
  const doors = [
    ...listeners.map((one) => ({ address: one.address, label: `listener ${one.name}` })),
    { address: admin.address, label: 'the admin port' },
    { address: http.address, label: 'the http port' },
  ];
  const door = doors.find((one) => formatEndpoint(one.address) === at);
  if (door !== undefined) objections.push(`${at} is where ${door.label} itself listens`);
  if (cluster?.failover === 'auto' && cluster.arbiter.length === 0 && !isLocalEndpoint(address)) {
    objections.push(
      `cluster ${clusterName} has failover = auto and no arbiter, and ${at} is on another host: a dbproxy that is cut off would take its primary for dead`,
    );
  }
  return objections;
}

function isAt({ address }: BackendConfig, other: Endpoint): boolean {
  return formatEndpoint(address) === formatEndpoint(other);
}

function isSameServer(one: BackendConfig, other: BackendConfig): boolean {
  return one.name === other.name && one.cluster === other.cluster && isAt(one, other.address);
}

/** The fields of the keys that were written. */
function writtenOf(backend: BackendConfig, written: WrittenKeys): Partial<BackendConfig> {
  const fields = keysOf('backend')
    .filter((row) => written[row.name] !== undefined)
    .map(fieldOf);
  if (written['ro_weight'] !== undefined) fields.push('roWeightSet');
  return Object.fromEntries(Object.entries(backend).filter(([field]) => fields.includes(field)));
}
