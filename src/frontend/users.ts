/**
 * Who may log in: the users of the configuration, with what is needed to check them.
 */
import { networkList, type NetworkList } from '../base/address.ts';
import type { UserConfig } from '../config/config.ts';
import { secretOf, type Secret } from '../protocol/auth.ts';

export interface KnownUser {
  readonly name: string;
  readonly secret: Secret;
  /** Sessions at once over all workers; 0 means no limit. */
  readonly maxConnections: number;
  /** May come from this address. */
  allowsAddress(address: string): boolean;
  allowsListener(listener: string): boolean;
}

/** Users by name. */
export type Users = ReadonlyMap<string, KnownUser>;

export function buildUsers(configs: readonly UserConfig[]): Users {
  return new Map(configs.map((config) => [config.name, buildUser(config)]));
}

function buildUser(config: UserConfig): KnownUser {
  const networks: NetworkList | undefined = config.allow.length > 0 ? networkList(config.allow) : undefined;
  return {
    name: config.name,
    secret: secretOf(config),
    maxConnections: config.maxConnections,
    allowsAddress: (address) =>
      networks === undefined || address === 'localhost' || networks.contains(address),
    allowsListener: (listener) => config.listeners.length === 0 || config.listeners.includes(listener),
  };
}
