/**
 * LAST_INSERT_ID() of a session that changes connections. Its value lives on the connection of the last insert;
 * it is asked for when that one is given up, and set on another one when a statement asks for it there.
 *
 * A connection of which nobody has a value (`lastInserter` null) says 0. So after an insert on such a one, 0
 * means that the insert has made no id (it was given one), and the session's value is what it was.
 */
import type { BackendConnection } from '../backend/connection.ts';

export class InsertId {
  /** As far as it is known; SQL text of a number. */
  #value = '0';
  /** Marks the connections that have the value. */
  #token: object = {};
  /** The connection that may have a newer value. */
  #newerOn: BackendConnection | null = null;
  /** On that one 0 means that nothing is newer. */
  #zeroIsNothing = false;
  /** What is being asked for; one after the other, the older value first. */
  #learning: Promise<void> = Promise.resolve();

  /** The session has begun anew. */
  reset(): void {
    this.#value = '0';
    this.#token = {};
    this.#newerOn = null;
  }

  /**
   * A statement on this connection may have changed the value. Answers the connection of an insert before, if
   * its value has to be learnt now (`clean`): it is still the session's when this one has made none.
   */
  inserted(connection: BackendConnection): BackendConnection | null {
    const before = this.#newerOn;
    if (before === connection) return null;
    const zeroIsNothing = connection.lastInserter !== this.#token;
    if (before !== null) void this.#learn(before, this.#zeroIsNothing);
    this.#token = {};
    connection.lastInserter = this.#token;
    this.#newerOn = connection;
    this.#zeroIsNothing = zeroIsNothing;
    return before;
  }

  /** Makes LAST_INSERT_ID() on this connection, which is at rest, what it is for the session. Rejects as `execute` does. */
  async bring(connection: BackendConnection): Promise<void> {
    await this.#learning;
    const newerOn = this.#newerOn;
    if (newerOn === connection && (!this.#zeroIsNothing || this.#value === '0')) return;
    if (newerOn !== null) await this.#learn(newerOn, this.#zeroIsNothing);
    if (this.#fits(connection)) return;
    await connection.execute(`SET LAST_INSERT_ID = ${this.#value}`);
    connection.lastInserter = this.#token;
  }

  /** The connection has the value without a question. */
  isOn(connection: BackendConnection): boolean {
    if (this.#newerOn === connection) return !this.#zeroIsNothing || this.#value === '0';
    return this.#newerOn === null && this.#fits(connection);
  }

  /** Has the session know what the connection knows, and takes it away there. Rejects when the connection is lost. */
  async clean(connection: BackendConnection): Promise<void> {
    if (this.#newerOn === connection) await this.#learn(connection, this.#zeroIsNothing);
    await this.#learning;
    if (connection.lastInserter === null) return;
    await connection.execute('SET LAST_INSERT_ID = 0');
    connection.lastInserter = null;
  }

  #fits(connection: BackendConnection): boolean {
    if (connection.lastInserter === this.#token) return true;
    return connection.lastInserter === null && this.#value === '0';
  }

  #learn(connection: BackendConnection, zeroIsNothing: boolean): Promise<void> {
    if (this.#newerOn === connection) this.#newerOn = null;
    this.#learning = this.#learning.then(async () => {
      if (connection.closed) return;
      const value = (await connection.queryValue('SELECT LAST_INSERT_ID()')) ?? '0';
      if (value !== '0' || !zeroIsNothing) this.#value = value;
      else connection.lastInserter = null;
    });
    // Who waits for it hears of a failure; nobody else has to.
    this.#learning.catch(() => undefined);
    return this.#learning;
  }
}
