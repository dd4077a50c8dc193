/**
 * `dbproxy admin "STATEMENT"`: one statement on the admin port, its answer as text.
 */
import { createConnection, type FieldPacket, type QueryResult, type ResultSetHeader } from 'mysql2/promise';
import { formatEndpoint, type Endpoint } from '../base/address.ts';
import { withoutHint } from '../admin/complaint.ts';
import { batchTable, boxedTable, type Cell } from './result-table.ts';

const CONNECT_TIMEOUT_MS = 5_000;

export interface AdminQuestion {
  address: Endpoint;
  user: string;
  password: string;
  statement: string;
  /** By default it waits as long as the statement takes. */
  timeoutMs?: number;
}

export interface AdminCall extends AdminQuestion {
  batch: boolean;
}

type AdminFailure = { outcome: 'refused' | 'unreachable'; text: string };

/** A result set; without columns: the words of an OK. */
export type AdminResult =
  { outcome: 'done'; columns: string[]; rows: Cell[][]; info: string | undefined } | AdminFailure;

/** How a call went: `unreachable` when there was nobody to ask, `refused` when the statement failed. */
export interface AdminAnswer {
  outcome: 'done' | 'refused' | 'unreachable';
  text: string;
}

/** Runs the statement and answers it as text; never throws for what the other side says. */
export async function callAdmin({ batch, ...question }: AdminCall): Promise<AdminAnswer> {
  const result = await askAdmin(question);
  return result.outcome === 'done' ? { outcome: 'done', text: render(result, batch) } : result;
}

/** The same, as rows. */
export async function askAdmin(call: AdminQuestion): Promise<AdminResult> {
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
    const { statement: sql, timeoutMs } = call;
    const [result, fields] = await connection.query({
      sql,
      ...(timeoutMs !== undefined && { timeout: timeoutMs }),
    });
    return { outcome: 'done', ...read(result, fields) };
  } catch (error) {
    return { outcome: 'refused', text: reasonOf(error) };
  } finally {
    connection.destroy();
  }
}

function read(
  result: QueryResult,
  fields: FieldPacket[] | undefined,
): { columns: string[]; rows: Cell[][]; info: string | undefined } {
  if (!Array.isArray(result)) return { columns: [], rows: [], info: (result as ResultSetHeader).info };
  const columns = (fields ?? []).map((field) => field.name);
  return { columns, rows: (result as unknown[][]).map((row) => row.map(toCell)), info: undefined };
}

function render(
  { columns, rows, info }: { columns: string[]; rows: Cell[][]; info: string | undefined },
  batch: boolean,
): string {
  if (columns.length === 0) return batch ? '' : describeOk(info);
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
