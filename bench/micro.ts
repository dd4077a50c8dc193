/**
 * Question: what do the hot pieces of our own code cost? Of the 20 µs that a query costs a proxy nearly all
 * is the kernel's; these nanoseconds are what we add for every statement. No sockets, no servers.
 */
import { systemClock } from '../src/base/clock.ts';
import { Capability, Command, HEADER_BYTES } from '../src/protocol/constants.ts';
import { writeCommand, writeResultSet } from '../src/protocol/packets.ts';
import { ReplyTracker } from '../src/protocol/reply-tracker.ts';
import { classify } from '../src/sql/classify.ts';
import { mayBeKill } from '../src/sql/kill.ts';
import { guardRead, isPlainSelect } from '../src/sql/read-guard.ts';
import { Statement, type SqlDialect } from '../src/sql/statement.ts';
import { median, type MicroResult } from './report.ts';

const CALLS = 50_000;
const BATCHES = 9;

/** A statement of 200 bytes as an application writes it by hand, and one as an ORM does. */
const WRITTEN =
  "SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.status IN ('paid', " +
  "'sent') AND o.total > 100 AND LOWER(c.name) LIKE 'a%' ORDER BY o.created DESC LIMIT 20 ";
const GENERATED =
  'SELECT `users`.`id`, `users`.`email`, `users`.`name`, `users`.`created_at` FROM `users` WHERE `users`.`email` = ' +
  "'someone@example.com' AND `users`.`deleted_at` IS NULL ORDER BY `users`.`id` ASC LIMIT 1";

const DIALECT: SqlDialect = {
  ansiQuotes: false,
  noBackslashEscapes: false,
  characterSet: 'safe',
  isMariaDb: true,
  minVersion: 101106,
  maxVersion: 101106,
};

/** Answers the cost of each piece, the median of several batches. */
export function askMicro(): MicroResult[] {
  const command = writeCommand(Command.QUERY, 'SELECT c FROM sbtest1 WHERE id=10042');
  const setting = writeCommand(Command.QUERY, "SET NAMES utf8mb4, sql_mode='STRICT_TRANS_TABLES'");
  const text = HEADER_BYTES + 1;
  const row = ['x'.repeat(119)];
  const columns = [{ name: 'c', type: 'text' as const }];
  return [
    trackerCost('reply tracker, point select', columns, [row]),
    trackerCost(
      'reply tracker, 100 rows',
      columns,
      Array.from({ length: 100 }, () => row),
    ),
    classifyCost('classify, 36 bytes', 'SELECT c FROM sbtest1 WHERE id=10042'),
    classifyCost('classify, 200 bytes', WRITTEN),
    classifyCost('classify, 200 bytes of an ORM', GENERATED),
    cost('first look, write endpoint', () => !mayBeKill(command, text, command.length)),
    cost('first look, read endpoint', () => isPlainSelect(command, text, command.length)),
    cost(
      'whole look at a SET, read endpoint',
      () => guardRead(setting, text, setting.length, false).kind === 'pass',
    ),
  ];
}

function classifyCost(name: string, sql: string): MicroResult {
  const text = Buffer.from(sql);
  const statement = new Statement();
  return cost(name, () => {
    classify(text, 0, text.length, DIALECT, statement);
    return statement.needs === 0;
  });
}

function trackerCost(
  name: string,
  columns: Parameters<typeof writeResultSet>[0],
  rows: Parameters<typeof writeResultSet>[1],
): MicroResult {
  const capabilities = Capability.DEPRECATE_EOF;
  const answer = writeResultSet(columns, rows, capabilities);
  const tracker = new ReplyTracker(capabilities);
  return cost(name, () => {
    tracker.begin(Command.QUERY);
    return tracker.feed(answer, 0, answer.length) === answer.length;
  });
}

/** Every call must answer true: so it is known to do its work, and cannot be optimised away. */
function cost(name: string, call: () => boolean): MicroResult {
  const batches: number[] = [];
  for (let batch = 0; batch <= BATCHES; batch++) {
    let right = 0;
    const startedMs = systemClock.nowMs();
    for (let i = 0; i < CALLS; i++) if (call()) right++;
    const elapsedMs = systemClock.nowMs() - startedMs;
    if (right !== CALLS) throw new Error(`${name}: ${CALLS - right} calls went wrong`);
    // The first batch is for the compiler.
    if (batch > 0) batches.push((elapsedMs * 1_000_000) / CALLS);
  }
  return { name, nanoseconds: median(batches) };
}
