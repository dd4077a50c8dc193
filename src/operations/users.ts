/** RELOAD USERS. */
import { refusal } from '../base/errors.ts';
import type { ProxyConfig } from '../config/config.ts';
import type { AccountImport } from '../monitor/accounts.ts';
import type { ImportStatus } from '../topology/account.ts';

/** Reads the accounts of a cluster, or of all, from the primary now; answers how that went. */
export async function reloadUsers(
  { clusters }: Pick<ProxyConfig, 'clusters'>,
  accounts: AccountImport,
  cluster: string | null,
): Promise<ImportStatus[]> {
  const known = clusters.map(({ name }) => name);
  if (cluster !== null && !known.includes(cluster)) {
    throw refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'cluster', cluster, known.join(', '));
  }
  if (clusters.some(({ name, users }) => name === cluster && users === 'file')) {
    const why = 'it has users = file, so its users are the [user] sections of the configuration';
    throw refusal('DBPROXY_ADMIN_BAD_VALUE', 'CLUSTER', cluster!, why);
  }
  await (cluster === null ? accounts.refreshAll() : accounts.refresh(cluster));
  return accounts.statuses().filter((status) => cluster === null || status.cluster === cluster);
}
