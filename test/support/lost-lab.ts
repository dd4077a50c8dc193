/**
 * A pair that has come apart: db2 no longer follows and takes writes, as after a failover, and what db1 does from
 * now on nobody else has.
 */
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { systemClock } from '../../src/base/clock.ts';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import type { Transaction } from '../../src/binlog/transaction.ts';
import { collectLost, type CollectedLost } from '../../src/failover/lost/collect.ts';
import type { BinlogSource } from '../../src/failover/lost/dump.ts';
import { findLostTransactions, type LostTransactions } from '../../src/failover/lost/find.ts';
import { readHeld, type Held } from '../../src/failover/lost/held.ts';
import { ControlConnection } from '../../src/monitor/connection.ts';
import { WORDS, type LabFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import { eventually } from './eventually.ts';
import { CHANGE_SETTINGS } from './lost-tables.ts';

export const TIMEOUT_MS = 20_000;

export const bounds = { clock: systemClock, timeoutMs: TIMEOUT_MS };

/** What the account needs, beside the rows: to see binlogs, to write to none, to forget, to set what is followed. */
const PRIVILEGES: Readonly<Record<LabFlavour, string>> = {
  mariadb: 'binlog monitor, binlog admin, reload, replication slave admin, replication master admin',
  mysql97: 'replication client, reload, session_variables_admin, system_variables_admin',
  mysql56: 'super, reload',
};

export class ApartLab {
  readonly lab: Lab;
  /** As an administrator, on database demo. */
  readonly db1: Connection;
  readonly db2: Connection;
  readonly #controls: ControlConnection[] = [];

  private constructor(lab: Lab, db1: Connection, db2: Connection) {
    this.lab = lab;
    this.db1 = db1;
    this.db2 = db2;
  }

  static async start(flavour: LabFlavour, serverOptions: readonly string[] = []): Promise<ApartLab> {
    const lab = await startPair({ flavour, serverOptions });
    const [db1, db2] = await Promise.all(
      [lab.db1, lab.db2].map((server) => lab.connect(server, { ...ADMIN_ACCOUNT, charset: 'utf8mb4' })),
    );
    for (const connection of [db1!, db2!]) {
      await connection.query(CHANGE_SETTINGS);
      await connection.query('set sql_log_bin = 0');
      await connection.query("create user lost@'%' identified by 'lost'");
      await connection.query("grant select, insert, update, delete, trigger on *.* to lost@'%'");
      await connection.query(`grant ${PRIVILEGES[flavour]} on *.* to lost@'%'`);
      await connection.query('set sql_log_bin = 1');
    }
    return new ApartLab(lab, db1!, db2!);
  }

  get flavour(): LabFlavour {
    return this.lab.flavour;
  }

  get family(): 'mariadb' | 'mysql' {
    return this.flavour === 'mariadb' ? 'mariadb' : 'mysql';
  }

  /** Once db2 has all that db1 has, it follows no more. */
  async part(): Promise<void> {
    await this.db1.query('create table if not exists parted (id int primary key)');
    await this.db1.query('insert into parted values (1)');
    await eventually(async () => {
      const [rows] = await this.db2.query<RowDataPacket[]>('select * from parted');
      if (rows.length === 0) throw new Error('db2 does not have it yet');
    });
    await this.db2.query(WORDS[this.flavour].stopReplica);
    await this.db2.query(WORDS[this.flavour].resetReplica);
    await this.db2.query('set global read_only = 0');
  }

  source(server: DatabaseServer): BinlogSource {
    return { backend: backendOf(server), account: PAIR_ACCOUNTS.replication };
  }

  /** A control connection of dbproxy's. */
  async control(server: DatabaseServer): Promise<ControlConnection> {
    const account = { monitorUser: 'lost', monitorPassword: 'lost' };
    const control = await ControlConnection.open(backendOf(server), account, systemClock, TIMEOUT_MS);
    this.#controls.push(control);
    return control;
  }

  async held(): Promise<Held> {
    return readHeld(await this.control(this.lab.db2), this.family, TIMEOUT_MS);
  }

  /** What db1 has and db2 lacks. */
  async find(
    options: { held?: Held; onRaw?: (bytes: Buffer) => void } = {},
  ): Promise<LostTransactions & { readonly transactions: readonly Transaction[] }> {
    return findLostTransactions({
      source: this.source(this.lab.db1),
      connection: await this.control(this.lab.db1),
      held: options.held ?? (await this.held()),
      bounds,
      onRaw: options.onRaw ?? null,
    });
  }

  /** The same, compared with db2 and saved. */
  async collect(epoch = 7): Promise<CollectedLost> {
    return collectLost({
      source: this.source(this.lab.db1),
      connection: await this.control(this.lab.db1),
      newPrimary: await this.control(this.lab.db2),
      held: await this.held(),
      bounds,
      stateDir: this.lab.directory,
      epoch,
    });
  }

  async stop(): Promise<void> {
    for (const control of this.#controls) control.close();
    await this.lab.stop();
  }
}

function backendOf(server: DatabaseServer): BinlogSource['backend'] {
  return {
    name: server.name,
    address: { kind: 'tcp', host: '127.0.0.1', port: server.port },
    tls: 'off',
    proxyProtocol: 'off',
  };
}

/** First column of each row of an answer, as text. */
export async function lines(connection: Connection, sql: string): Promise<string[]> {
  const [rows] = await connection.query<RowDataPacket[]>(sql);
  return rows.map((row) => String(Object.values(row)[0]));
}
