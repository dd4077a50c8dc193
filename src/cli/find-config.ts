/** Where the configuration is. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

/** Looked for in this order where none is given. */
export const CONFIG_PLACES = ['proxy.conf', '/etc/dbproxy/proxy.conf'] as const;

/** Its path, which need not be there when it was given; rejects with DBPROXY_CONFIG when there is none to be found. */
export async function findConfig(given: string | undefined): Promise<string> {
  const found = given ?? CONFIG_PLACES.find((place) => existsSync(place));
  if (found !== undefined) return resolve(found);
  // The catalogue takes time to load, which keepalived's question has not.
  const { refusal } = await import('../base/errors.ts');
  throw refusal(
    'DBPROXY_CONFIG',
    `no configuration: neither ${CONFIG_PLACES.join(' nor ')} is there; give --config`,
  );
}
