/**
 * `dbproxy admin "STATEMENT"`: one statement on the admin port, its answer as text.
 */
import { createConnection, type FieldPacket, type QueryResult, type ResultSetHeader } from 'mysql2/promise';
import { formatEndpoint, type Endpoint } from '../base/address.ts';
import { withoutHint } from '../admin/complaint.ts';
import { batchTable, boxedTable, type Cell } from './result-table.ts';

const CONNECT_TIMEOUT_MS = 5_000;

export interface AdminCall {
  address: Endpoint;
  user: string;
  password: string;
  statement: string;
  batch: boolean;
}

/** How a call went: `unreachable` when there was nobody to ask, `refused` when the statement failed. */
export interface AdminAnswer {
  outcome: 'done' | 'refused' | 'unreachable';
  text: string;
}

/** Runs the statement; never throws for what the other side says. */
export async function callAdmin(call: AdminCall): Promise<AdminAnswer> {
  let connection;
  try {
    connection = await createConnection({
      ...(call.address.kind === 'tcp'
        ? { host: call.address.host, port: call.address.port }
        : { socketPath: call.address.path }),
      user: call.user,
      password: call.password,
      connectTimeout: CONNECT_TIMEOUT_MS,
      rowsAsArray: true,
      dateStrings: true,
      supportBigNumbers: true,
      bigNumberStrings: true,
    });
  } catch (error) {
    return { outcome: 'unreachable', text: `admin port ${formatEndpoint(call.address)}: ${reasonOf(error)}` };
  }
  try {
    const [result, fields] = await connection.query(call.statement);
    return { outcome: 'done', text: render(result, fields, call.batch) };
  } catch (error) {
    return { outcome: 'refused', text: reasonOf(error) };
  } finally {
    connection.destroy();
  }
}

function render(result: QueryResult, fields: FieldPacket[] | undefined, batch: boolean): string {
  if (!Array.isArray(result)) return batch ? '' : describeOk((result as ResultSetHeader).info);
  const columns = (fields ?? []).map((field) => field.name);
  const rows = (result as unknown[][]).map((row) => row.map(toCell));
  if (batch) return batchTable(columns, rows);
  return `${boxedTable(columns, rows)}\n${rows.length} ${rows.length === 1 ? 'row' : 'rows'}`;
}

function describeOk(info: string | undefined): string {
  return info ? `OK: ${info}` : 'OK';
}

function toCell(value: unknown): Cell {
  if (value === null || typeof value === 'string') return value;
  return Buffer.isBuffer(value) ? value.toString() : JSON.stringify(value);
}

function reasonOf(error: unknown): string {
  const { message, errno, sqlState, code } = error as Error & {
    errno?: number;
    sqlState?: string;
    code?: string;
  };
  if (sqlState !== undefined) return `ERROR ${errno} (${sqlState.replace('#', '')}): ${withoutHint(message)}`;
  return message || (code ?? 'unknown error');
}
