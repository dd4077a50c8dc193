/**
 * Accounts as tests need them.
 */
import type { Account, ClusterAccounts } from '../../src/topology/account.ts';

/** An account that is well: app@'%' by mysql_native_password; `change` says what is different. */
export function account(change: Partial<Account> = {}): Account {
  return {
    user: 'app',
    host: '%',
    plugin: 'mysql_native_password',
    material: { doubleSha1: '6bb4837eb74329105ee4568dda7dc67ed2ca2ad9' },
    emptyPassword: false,
    locked: false,
    expired: false,
    requiresTls: false,
    unservable: null,
    ...change,
  };
}

/** Accounts of the MariaDB cluster `main`. */
export function accountsOf(...accounts: Account[]): ClusterAccounts {
  return { cluster: 'main', product: 'mariadb', accounts };
}
