/** What servers of tests are told, in the pieces that their labs put together. */
import type { LabFlavour } from './flavours.ts';

/** Little memory, and no waiting for disks where a crash of the machine is not what is tried. */
export const SMALL: Readonly<Record<LabFlavour, readonly string[]>> = {
  mariadb: ['--innodb-flush-log-at-trx-commit=2'],
  mysql97: [
    '--mysqlx=OFF',
    '--innodb-buffer-pool-size=32M',
    '--innodb-log-buffer-size=1M',
    '--table-definition-cache=400',
    '--table-open-cache=200',
    '--sync-binlog=0',
    '--innodb-flush-log-at-trx-commit=2',
  ],
  mysql56: [
    '--innodb-buffer-pool-size=32M',
    '--performance-schema=OFF',
    '--innodb-flush-log-at-trx-commit=2',
  ],
};

/**
 * Behind those: nothing that was committed is lost in a crash of the machine, as far as the server can. MariaDB that
 * starts as a replica keeps what its clients were told of only when it flushes at the commit, too (docs/failover.md).
 */
export const DURABLE: Readonly<Record<LabFlavour, readonly string[]>> = {
  mariadb: ['--sync-binlog=1', '--innodb-flush-log-at-trx-commit=3'],
  mysql97: ['--sync-binlog=1', '--innodb-flush-log-at-trx-commit=1'],
  mysql56: ['--sync-binlog=1', '--innodb-flush-log-at-trx-commit=1'],
};

/** A replica logs what it applies, so that it can be a primary. */
export const LOGS_REPLICATED: Readonly<Record<LabFlavour, readonly string[]>> = {
  mariadb: ['--log-slave-updates'],
  mysql97: ['--log-replica-updates'],
  mysql56: ['--log-slave-updates', '--master-info-repository=TABLE', '--relay-log-info-repository=TABLE'],
};

/** MariaDB has its own always. */
export const GLOBAL_IDS = ['--gtid-mode=ON', '--enforce-gtid-consistency=ON'];

/** Loaded, and receipts are sent; who waits for them is told at run time. 5.6 has it not, as this package comes. */
export const SEMI_SYNC: Readonly<Record<Exclude<LabFlavour, 'mysql56'>, readonly string[]>> = {
  mariadb: [
    '--init-rpl-role=SLAVE',
    '--rpl-semi-sync-slave-enabled=ON',
    '--rpl-semi-sync-master-wait-point=AFTER_SYNC',
    '--max-binlog-size=128M',
  ],
  mysql97: [
    '--plugin-load-add=semisync_source.so',
    '--plugin-load-add=semisync_replica.so',
    '--loose-rpl-semi-sync-replica-enabled=ON',
  ],
};

/** It has logs, and says to its source where it is. */
export function logging(port: number): string[] {
  return ['--log-bin=binlog', '--relay-log=relay', '--report-host=127.0.0.1', `--report-port=${port}`];
}
