/**
 * How far the replica is behind, at will. `hold` locks a row on the replica that the primary then changes:
 * replication runs on, in good health as far as anyone can see, and waits; all that comes after waits, too.
 */
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { WORDS, type LabFlavour } from '../../lab/flavours.ts';
import type { Lab } from '../../lab/pair.ts';
import type { LagAction } from './scenario.ts';

/** Longer than any hold; the applier takes it up when it starts. */
const APPLIER_PATIENCE_SECONDS = 1000;
/** What sessions of the test get. */
const SESSION_PATIENCE_SECONDS = 1;
const CATCH_UP_TIMEOUT_SECONDS = 30;

interface PositionWords {
  /** Answers where the primary is, as `position`. */
  readonly position: string;
  /** Waits on the replica; answers as `state`, where 0 or more is good. */
  waitFor(position: string): string;
}

const POSITIONS: Readonly<Record<LabFlavour, PositionWords>> = {
  mariadb: {
    position: 'select @@gtid_binlog_pos as position',
    waitFor: (position) => `select master_gtid_wait('${position}', ${CATCH_UP_TIMEOUT_SECONDS}) as state`,
  },
  mysql97: {
    position: 'select @@global.gtid_executed as position',
    waitFor: (position) =>
      `select wait_for_executed_gtid_set('${position}', ${CATCH_UP_TIMEOUT_SECONDS}) = 0 as state`,
  },
  mysql56: {
    position: 'select @@global.gtid_executed as position',
    waitFor: (position) =>
      `select wait_until_sql_thread_after_gtids('${position}', ${CATCH_UP_TIMEOUT_SECONDS}) as state`,
  },
};

export class LagControl {
  readonly #flavour: LabFlavour;
  readonly #primary: Connection;
  readonly #replica: Connection;
  #state: 'follows' | 'held' | 'stopped' = 'follows';

  private constructor(flavour: LabFlavour, primary: Connection, replica: Connection) {
    this.#flavour = flavour;
    this.#primary = primary;
    this.#replica = replica;
  }

  static async open(lab: Lab): Promise<LagControl> {
    const [primary, replica] = [await lab.db1.connectAsRoot(), await lab.db2.connectAsRoot()];
    await primary.query('create database if not exists gate');
    await primary.query('create table if not exists gate.gate (id int primary key, n int) engine=innodb');
    await primary.query('insert into gate.gate values (1, 0)');
    const control = new LagControl(lab.flavour, primary, replica);
    await control.#restartApplier();
    await control.move('catch_up');
    await primary.query(setPatience(SESSION_PATIENCE_SECONDS));
    return control;
  }

  async move(action: LagAction): Promise<void> {
    switch (action) {
      case 'hold':
        await this.#follow();
        await this.#replica.query('begin');
        await this.#replica.query('select n from gate.gate where id = 1 for update');
        await this.#primary.query('update gate.gate set n = n + 1');
        this.#state = 'held';
        return;
      case 'stop':
        await this.#follow();
        await this.#replica.query(`${WORDS[this.#flavour].stopReplica} sql_thread`);
        this.#state = 'stopped';
        return;
      case 'release':
      case 'start':
        return this.#follow();
      case 'catch_up':
        await this.#follow();
        return this.#catchUp();
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#primary.end(), this.#replica.end()]);
  }

  async #follow(): Promise<void> {
    if (this.#state === 'held') await this.#replica.query('rollback');
    if (this.#state === 'stopped') await this.#startApplier();
    this.#state = 'follows';
  }

  async #restartApplier(): Promise<void> {
    await this.#replica.query(`${WORDS[this.#flavour].stopReplica} sql_thread`);
    await this.#startApplier();
  }

  /** It takes the patience of the moment in which it starts, which must not be that of the sessions. */
  async #startApplier(): Promise<void> {
    await this.#replica.query(setPatience(APPLIER_PATIENCE_SECONDS));
    await this.#replica.query(`${WORDS[this.#flavour].startReplica} sql_thread`);
    await this.#replica.query(setPatience(SESSION_PATIENCE_SECONDS));
  }

  async #catchUp(): Promise<void> {
    const words = POSITIONS[this.#flavour];
    const [[at]] = await this.#primary.query<RowDataPacket[]>(words.position);
    const position = String(at!['position']).replaceAll('\n', '');
    const [[waited]] = await this.#replica.query<RowDataPacket[]>(words.waitFor(position));
    const state: unknown = waited!['state'];
    if (state !== null && Number(state) >= (this.#flavour === 'mysql97' ? 1 : 0)) return;
    const [[status]] = await this.#replica.query<RowDataPacket[]>(WORDS[this.#flavour].replicaStatus);
    throw new Error(`the replica does not catch up: ${JSON.stringify(status)}`);
  }
}

function setPatience(seconds: number): string {
  return `set global innodb_lock_wait_timeout = ${seconds}, global lock_wait_timeout = ${2 * seconds}`;
}
