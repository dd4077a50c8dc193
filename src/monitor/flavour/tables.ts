/**
 * The two tables that dbproxy keeps on the servers themselves, in a schema of its own. They are the same on
 * every flavour, are made on the primary and reach the others by replication.
 *
 * `dbproxy.epoch` has one row a promotion, written on the new primary before it becomes writable: whoever
 * sees a higher epoch than its own has been away. `dbproxy.heartbeat` has one row a cluster, which the
 * monitor updates on the primary; how old a replica's copy is tells its lag.
 */
import type { Statement } from './row.ts';

/** The schema that is dbproxy's own: never part of the data that servers are compared by. */
export const DBPROXY_SCHEMA = 'dbproxy';

/** The tables in it. */
export const OWN_TABLE_NAMES = ['epoch', 'heartbeat'] as const;

/** Makes the schema and its tables where they are missing; the same statements may run any number of times. */
export const CREATE_TABLES: readonly string[] = [
  `CREATE DATABASE IF NOT EXISTS ${DBPROXY_SCHEMA}`,
  `CREATE TABLE IF NOT EXISTS ${DBPROXY_SCHEMA}.epoch (
    cluster VARCHAR(64) NOT NULL,
    epoch BIGINT UNSIGNED NOT NULL,
    backend VARCHAR(64) NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (cluster, epoch)
  ) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin`,
  `CREATE TABLE IF NOT EXISTS ${DBPROXY_SCHEMA}.heartbeat (
    cluster VARCHAR(64) NOT NULL,
    at_ms BIGINT NOT NULL,
    epoch BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (cluster)
  ) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin`,
];

/** Notes on the new primary who leads from this epoch on; harmless when the note is there already. */
export function noteEpoch(cluster: string, epoch: number, backend: string, atMs: number): Statement {
  return {
    sql: `INSERT IGNORE INTO ${DBPROXY_SCHEMA}.epoch (cluster, epoch, backend, at_ms) VALUES (?, ?, ?, ?)`,
    values: [cluster, epoch, backend, Math.round(atMs)],
  };
}

/** True for what a binary log says of the note of an epoch, or of the making of its table. */
export function isAboutEpoch(info: string): boolean {
  return /\bdbproxy`?\.`?epoch\b|\bDATABASE IF NOT EXISTS `?dbproxy\b/i.test(info);
}

/** One row: the last promotion of a cluster that a server knows of; none when there was none. */
export function lastEpoch(cluster: string): Statement {
  return {
    sql: `SELECT epoch, backend FROM ${DBPROXY_SCHEMA}.epoch WHERE cluster = ? ORDER BY epoch DESC LIMIT 1`,
    values: [cluster],
  };
}

/** Writes the row of a cluster anew. */
export function beat(cluster: string, atMs: number, epoch: number): Statement {
  return {
    sql: `REPLACE INTO ${DBPROXY_SCHEMA}.heartbeat (cluster, at_ms, epoch) VALUES (?, ?, ?)`,
    values: [cluster, atMs, epoch],
  };
}

/** One row: the row of a cluster as a server has it. */
export function lastBeat(cluster: string): Statement {
  return { sql: `SELECT at_ms FROM ${DBPROXY_SCHEMA}.heartbeat WHERE cluster = ?`, values: [cluster] };
}
