/**
 * Whether triggers of the primary leave something behind on the connection that writes: user variables, locks.
 * Nobody sees that in the statement, so it is asked of the server: before the first write, and again now and
 * then. Where it is so, a write pins its session, as a CALL does.
 */
import type { BackendConnection } from '../backend/connection.ts';

/** How long an answer holds. A trigger that was made through this endpoint is seen at once. */
const HOLDS_MS = 60_000;

/**
 * Only triggers of tables that the account may change are seen, and it can write to no others. Of what a
 * trigger calls, only that it calls is seen.
 */
const QUESTION = `SELECT COUNT(*) FROM information_schema.triggers
  WHERE trigger_schema NOT IN ('sys', 'mysql')
    AND (action_statement LIKE '%@%' OR action_statement LIKE '%CALL%' OR action_statement LIKE '%_LOCK%')`;

/** For one account at one endpoint. */
interface Answer {
  leavesSomething: boolean;
  untilMs: number;
}

/** Accounts at most; the oldest gives way. */
const MOST = 1000;

export class TriggerWatch {
  readonly #answers = new Map<string, Answer>();

  /** What is known of the triggers that an account sets off: undefined when it has to be asked (again). */
  known(account: string, nowMs: number): boolean | undefined {
    const answer = this.#answers.get(account);
    return answer === undefined || answer.untilMs <= nowMs ? undefined : answer.leavesSomething;
  }

  /** Asks on a connection of the account to the primary, which is at rest. Rejects as `queryValue` does. */
  async ask(account: string, connection: BackendConnection, nowMs: number): Promise<boolean> {
    const leavesSomething = (await connection.queryValue(QUESTION)) !== '0';
    this.#answers.delete(account);
    this.#answers.set(account, { leavesSomething, untilMs: nowMs + HOLDS_MS });
    if (this.#answers.size > MOST) {
      const [oldest] = this.#answers.keys();
      this.#answers.delete(oldest!);
    }
    return leavesSomething;
  }

  /** Something was created, or another server is the primary. */
  forget(): void {
    this.#answers.clear();
  }
}
