/**
 * Commands of a session that changes connections, by how they are treated: those that are no statements.
 * Manual: page_protocol_command_phase.
 */
import { Command } from '../protocol/constants.ts';

/** Commands beside statements that go home and leave nothing. */
export const PLAIN_COMMANDS: ReadonlySet<number> = new Set([
  Command.FIELD_LIST,
  Command.CREATE_DB,
  Command.DROP_DB,
  Command.REFRESH,
  Command.SHUTDOWN,
  Command.STATISTICS,
  Command.PROCESS_INFO,
  Command.DEBUG,
]);

/** Commands that may ask after a SET, or belong to the same set-up: what it has set is not read before them. */
export const MAY_LEAVE_UNREAD: ReadonlySet<number> = new Set([
  Command.QUERY,
  Command.STMT_PREPARE,
  Command.PING,
  Command.INIT_DB,
]);

/** Commands of replicas, which follow the log. */
export const REPLICATION_COMMANDS: ReadonlySet<number> = new Set([
  Command.BINLOG_DUMP,
  Command.BINLOG_DUMP_GTID,
  Command.TABLE_DUMP,
  Command.REGISTER_SLAVE,
]);
