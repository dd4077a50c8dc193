/**
 * Servers that nobody has set up: any number, of any flavour, writable, none of them replicating, with the
 * accounts of the lab and an empty schema `demo`. What becomes of them is the business of the test.
 */
import { cp, mkdir, rm } from 'node:fs/promises';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { DatabaseServer } from '../../src/demo/database-server.ts';
import { mariaDbServer } from '../../src/demo/mariadb-server.ts';
import type { LabFlavour } from './flavours.ts';
import { BASE_OPTIONS, mysqldOf } from './mysql.ts';
import { makeTemplate, temporaryDirectory } from './pair.ts';
import { freePorts } from './ports.ts';

export interface BlankOptions {
  readonly flavour: LabFlavour;
  readonly count: number;
  /** More options of the server program, for all; the last one given counts. */
  readonly serverOptions?: readonly string[];
}

export interface BlankServers {
  readonly directory: string;
  /** db1, db2 and so on, with the server ids 1, 2 and so on. */
  readonly servers: readonly DatabaseServer[];
  stop(): Promise<void>;
}

const COMMON = [
  '--log-bin=binlog',
  '--relay-log=relay',
  '--innodb-flush-log-at-trx-commit=2',
  '--report-host=127.0.0.1',
];

const OF_FLAVOUR: Readonly<Record<LabFlavour, readonly string[]>> = {
  mariadb: ['--log-slave-updates'],
  mysql97: [
    '--mysqlx=OFF',
    '--innodb-buffer-pool-size=32M',
    '--innodb-log-buffer-size=1M',
    '--table-definition-cache=400',
    '--table-open-cache=200',
    '--sync-binlog=0',
    '--gtid-mode=ON',
    '--enforce-gtid-consistency=ON',
  ],
  mysql56: [
    '--innodb-buffer-pool-size=32M',
    '--performance-schema=OFF',
    '--log-slave-updates',
    '--master-info-repository=TABLE',
    '--relay-log-info-repository=TABLE',
  ],
};

/** With --no-defaults MySQL would not read what SET PERSIST has kept; with an empty file of its own it does. */
function withOwnFile(options: readonly string[], place: string): string[] {
  const file = join(place, 'my.cnf');
  writeFileSync(file, '', { mode: 0o600 });
  return [`--defaults-file=${file}`, ...options.filter((option) => option !== '--no-defaults')];
}

/** Starts them. */
export async function startBlankServers(options: BlankOptions): Promise<BlankServers> {
  const { flavour, count, serverOptions = [] } = options;
  const directory = temporaryDirectory();
  const template = await makeTemplate(flavour);
  const ports = await freePorts(count);
  const servers: DatabaseServer[] = [];
  for (const [index, port] of ports.entries()) {
    const name = `db${index + 1}`;
    const place = join(directory, name);
    await mkdir(place, { mode: 0o700 });
    await cp(join(template, 'data'), join(place, 'data'), { recursive: true });
    const shared = {
      name,
      directory: place,
      port,
      serverId: index + 1,
      clock: systemClock,
      signalWhenOrphaned: 'KILL' as const,
      extraOptions: [...COMMON, `--report-port=${port}`, ...OF_FLAVOUR[flavour], ...serverOptions],
    };
    servers.push(
      flavour === 'mariadb'
        ? mariaDbServer(shared)
        : new DatabaseServer(shared, [...mysqldOf(flavour), ...withOwnFile(BASE_OPTIONS[flavour](), place)]),
    );
  }
  await Promise.all(servers.map((server) => server.start()));
  return {
    directory,
    servers,
    async stop() {
      await Promise.all(servers.map((server) => server.kill()));
      await rm(directory, { recursive: true, force: true });
    },
  };
}
