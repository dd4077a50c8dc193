/** A control connection as the rooms here need one; `monitor/connection.ts` has the real one. */
export interface SqlConnection {
  run(sql: string, timeoutMs: number): Promise<Readonly<Record<string, unknown>>[]>;
}

/** A value of a row as text; NULL is empty. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (Buffer.isBuffer(value)) return value.toString('utf8');
  return '';
}

/** The same connection, whose errors say which server they are from. */
export function atServer(name: string, connection: SqlConnection): SqlConnection {
  return {
    run: (sql, timeoutMs) =>
      connection.run(sql, timeoutMs).catch((error: unknown) => {
        if (error instanceof Error && !error.message.startsWith(`${name}: `)) {
          error.message = `${name}: ${error.message}`;
        }
        throw error;
      }),
  };
}
