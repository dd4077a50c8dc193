/**
 * LAST_INSERT_ID() of a session that changes connections. Its value lives on the connection of the last insert;
 * it is asked for when that one is given up, and set on another one when a statement asks for it there.
 *
 * A connection of which nobody has a value (`lastInserter` null) says 0. So after an insert on such a one, 0
 * means that the insert has made no id (it was given one), and the session's value is what it was.
 */
import { refusal } from '../base/errors.ts';
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
  /** The connection that had it is gone. */
  #isLost = false;
  /** What is being asked for; one after the other, the older value first. */
  #learning: Promise<void> = Promise.resolve();
  /** How often the session has begun anew: what was asked for before is of another time. */
  #life = 0;

  /** The session has begun anew. */
  reset(): void {
    this.#value = '0';
    this.#token = {};
    this.#newerOn = null;
    this.#isLost = false;
    this.#learning = Promise.resolve();
    this.#life++;
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

  /** The connection is given back in a state nobody knows: what it alone knew is gone. */
  discarded(connection: BackendConnection): void {
    if (this.#newerOn !== connection) return;
    this.#newerOn = null;
    this.#isLost = true;
  }

  /** Makes LAST_INSERT_ID() on this connection, which is at rest, what it is for the session. Rejects as `execute` does. */
  async bring(connection: BackendConnection): Promise<void> {
    await this.#learning.catch(() => undefined);
    const newerOn = this.#newerOn;
    if (newerOn === connection && this.#isCurrent) return;
    if (newerOn !== null) await this.#learn(newerOn, this.#zeroIsNothing);
    if (this.#isLost) throw refusal('DBPROXY_STATE_GONE', 'LAST_INSERT_ID()');
    if (this.#fits(connection)) return;
    await connection.execute(`SET LAST_INSERT_ID = ${this.#value}`);
    connection.lastInserter = this.#token;
  }

  /** The connection has the value without a question. */
  isOn(connection: BackendConnection): boolean {
    if (this.#newerOn === connection) return this.#isCurrent;
    return this.#newerOn === null && !this.#isLost && this.#fits(connection);
  }

  /** The connection has run the session's last insert, or there was none. */
  isFirstHand(connection: BackendConnection): boolean {
    if (this.#newerOn !== null) return this.#newerOn === connection;
    return this.#value === '0' && !this.#isLost;
  }

  /** Has the session know what the connection knows, and takes it away there. Rejects when the connection is lost. */
  async clean(connection: BackendConnection): Promise<void> {
    if (this.#newerOn === connection) await this.#learn(connection, this.#zeroIsNothing);
    await this.#learning.catch(() => undefined);
    if (connection.lastInserter === null) return;
    await connection.execute('SET LAST_INSERT_ID = 0');
    connection.lastInserter = null;
  }

  /** What the connection of the last insert says is the value, whether that insert has made one or not. */
  get #isCurrent(): boolean {
    return !this.#zeroIsNothing || (this.#value === '0' && !this.#isLost);
  }

  #fits(connection: BackendConnection): boolean {
    if (connection.lastInserter === this.#token) return true;
    return connection.lastInserter === null && this.#value === '0';
  }

  #learn(connection: BackendConnection, zeroIsNothing: boolean): Promise<void> {
    if (this.#newerOn === connection) this.#newerOn = null;
    const before = this.#learning.catch(() => undefined);
    this.#learning = before.then(async () => {
      // Its connection took the value with it.
      if (connection.closed) this.#isLost = true;
      else await this.#ask(connection, zeroIsNothing);
    });
    // Who waits for it hears of a failure; nobody else has to.
    this.#learning.catch(() => undefined);
    return this.#learning;
  }

  async #ask(connection: BackendConnection, zeroIsNothing: boolean): Promise<void> {
    const life = this.#life;
    try {
      const value = (await connection.queryValue('SELECT LAST_INSERT_ID()')) ?? '0';
      if (life !== this.#life) return;
      if (value === '0' && zeroIsNothing) {
        connection.lastInserter = null;
        return;
      }
      this.#value = value;
      this.#isLost = false;
    } catch (error) {
      if (life === this.#life) this.#isLost = true;
      throw error;
    }
  }
}
