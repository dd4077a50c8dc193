/** Servers that stand on hosts of their own (hosts.ts), with what makes them a semi-synchronous cluster. */
import { systemClock } from '../../src/base/clock.ts';
import { DatabaseServer } from '../../src/demo/database-server.ts';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import { WORDS, type LabFlavour } from './flavours.ts';
import type { Host } from './hosts.ts';
import { BASE_OPTIONS, mysqldOf } from './mysql.ts';
import { DURABLE, GLOBAL_IDS, LOGS_REPLICATED, SEMI_SYNC, SMALL } from './server-options.ts';

/** Of every server that has a host for itself. */
export const SERVER_PORT = 3306;

/** What filling a server takes. */
export const GRANT_ALL = `grant all privileges on *.* to ${PAIR_ACCOUNTS.monitor.user}@'%' with grant option`;

const COMMON_OPTIONS = [
  '--bind-address=0.0.0.0',
  '--log-bin=binlog',
  '--relay-log=relay',
  '--binlog-format=row',
  '--read-only=1',
  '--max-connections=250',
];

const OPTIONS: Readonly<Record<HostFlavour, readonly string[]>> = {
  mariadb: [
    ...SMALL.mariadb,
    ...LOGS_REPLICATED.mariadb,
    ...SEMI_SYNC.mariadb,
    '--innodb-log-file-size=16M',
    '--innodb-buffer-pool-size=64M',
    '--aria-pagecache-buffer-size=8M',
    '--key-buffer-size=4M',
  ],
  mysql97: [...SMALL.mysql97, ...GLOBAL_IDS, ...SEMI_SYNC.mysql97, '--innodb-buffer-pool-size=64M'],
};

/** The servers that can be semi-synchronous. */
export type HostFlavour = Exclude<LabFlavour, 'mysql56'>;

export interface HostServerOptions {
  readonly flavour: HostFlavour;
  readonly name: string;
  readonly serverId: number;
  /** Holds a copy of the template's data. */
  readonly directory: string;
  readonly host: Host;
  /** It flushes each commit to its disk. */
  readonly durable?: boolean;
}

/** A server that is to run on this host, as it is now: after a `powerOff` another one is to be made. */
export function hostServer(options: HostServerOptions): DatabaseServer {
  const { flavour, name, serverId, directory, host, durable = false } = options;
  const program =
    flavour === 'mariadb'
      ? ['/usr/sbin/mariadbd', '--no-defaults']
      : [...mysqldOf(flavour), ...BASE_OPTIONS[flavour]()];
  return new DatabaseServer(
    {
      name,
      directory,
      port: SERVER_PORT,
      serverId,
      clock: systemClock,
      signalWhenOrphaned: 'KILL',
      extraOptions: [
        ...COMMON_OPTIONS,
        ...OPTIONS[flavour],
        ...(durable ? DURABLE[flavour] : []),
        `--report-host=${host.address}`,
        `--report-port=${SERVER_PORT}`,
      ],
    },
    host.command(...(program as [string, ...string[]])),
  );
}

/** Makes a server the primary: it waits for a replica's receipt, and takes writes. */
export async function lead(flavour: HostFlavour, server: DatabaseServer): Promise<void> {
  const { primary, replica } = WORDS[flavour].semiSync!;
  await server.execute(`set global ${replica} = 0`, `set global ${primary} = 1`, 'set global read_only = 0');
}

/** Makes a server the replica of the one on the host of this address. */
export async function follow(flavour: HostFlavour, server: DatabaseServer, address: string): Promise<void> {
  const { user, password } = PAIR_ACCOUNTS.replication;
  const words = WORDS[flavour];
  const statement = words.follow(SERVER_PORT, user, password).replace('127.0.0.1', address);
  await server.execute(statement, words.startReplica);
}
