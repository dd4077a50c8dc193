/**
 * Servers that nobody has set up: any number, of any flavour, writable, none of them replicating, with the
 * accounts of the lab and an empty schema `demo`. What becomes of them is the business of the test.
 */
import { mkdir, rm } from 'node:fs/promises';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { DatabaseServer } from '../../src/demo/database-server.ts';
import { mariaDbServer } from '../../src/demo/mariadb-server.ts';
import { copyData } from './copy-data.ts';
import type { LabFlavour } from './flavours.ts';
import { BASE_OPTIONS, mysqldOf } from './mysql.ts';
import { GLOBAL_IDS, logging, LOGS_REPLICATED, SMALL } from './server-options.ts';
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

const OPTIONS: Readonly<Record<LabFlavour, readonly string[]>> = {
  mariadb: [...SMALL.mariadb, ...LOGS_REPLICATED.mariadb],
  mysql97: [...SMALL.mysql97, ...GLOBAL_IDS],
  mysql56: [...SMALL.mysql56, ...LOGS_REPLICATED.mysql56],
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
    await copyData(template, place);
    const shared = {
      name,
      directory: place,
      port,
      serverId: index + 1,
      clock: systemClock,
      signalWhenOrphaned: 'KILL' as const,
      extraOptions: [...logging(port), ...OPTIONS[flavour], ...serverOptions],
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
