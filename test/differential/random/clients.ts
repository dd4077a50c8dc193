/**
 * What the clients of a scenario ask for at login: flags that change the form of answers.
 */
import { WireExtended, WireFlag, type WireOptions } from '../../support/wire-client.ts';
import type { ClientFlags } from './scenario.ts';

const OLD = WireFlag.MULTI_RESULTS | WireFlag.PS_MULTI_RESULTS;
const MODERN = OLD | WireFlag.DEPRECATE_EOF | WireFlag.SESSION_TRACK | WireFlag.CONNECT_ATTRS;

export const CLIENT_OPTIONS: Readonly<Record<ClientFlags, Partial<WireOptions>>> = {
  old: { capabilities: OLD },
  several: { capabilities: OLD | WireFlag.MULTI_STATEMENTS },
  modern: { capabilities: MODERN | WireFlag.MULTI_STATEMENTS, attributes: { program: 'random' } },
  found_rows: { capabilities: OLD | WireFlag.FOUND_ROWS | WireFlag.DEPRECATE_EOF },
  mariadb: {
    capabilities: MODERN,
    extended: WireExtended.METADATA | WireExtended.BULK,
  },
  attributes: { capabilities: MODERN | WireFlag.QUERY_ATTRIBUTES | WireFlag.OPTIONAL_METADATA },
};
