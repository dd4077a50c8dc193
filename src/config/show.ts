/**
 * The configuration as rows, for SHOW CONFIG and SHOW VARIABLES: the table of keys beside the values in
 * force. Secrets are masked.
 */
import type { ProxyConfig } from './config.ts';
import { sectionLabel } from './ini.ts';
import { fieldOf, keysOf, type KeyRow, type SectionKind } from './keys.ts';
import { formatValue, type Value } from './values.ts';

/** One key with its value. */
export interface ConfigRow {
  /** As the file writes it: `[cluster main]`. */
  section: string;
  kind: SectionKind;
  key: string;
  value: string;
  /** Default as the file would write it, or in words where it is worked out; empty when there is none. */
  default: string;
}

/** All keys that this version has, in the order of the table, with their values. */
export function configRows(config: ProxyConfig): ConfigRow[] {
  return [
    ...sectionOf('dbproxy', '', config.dbproxy),
    ...sectionOf('admin', '', config.admin),
    ...sectionOf('http', '', config.http),
    ...config.clusters.flatMap((cluster) => sectionOf('cluster', cluster.name, cluster)),
    ...config.backends.flatMap((backend) => sectionOf('backend', backend.name, backend)),
    ...config.listeners.flatMap((listener) => sectionOf('listener', listener.name, listener)),
    ...config.users.flatMap((user) => sectionOf('user', user.name, user)),
    ...config.rules.flatMap((rule) => sectionOf('rule', rule.name, rule)),
    ...(config.peer === undefined ? [] : sectionOf('peer', '', config.peer)),
    ...sectionOf('keepalived', '', config.keepalived),
  ];
}

function sectionOf(kind: SectionKind, name: string, values: object): ConfigRow[] {
  const fields = new Map<string, Value | undefined>(Object.entries(values));
  return keysOf(kind).flatMap((row) => {
    const value = fields.get(fieldOf(row));
    if (value === undefined) return fixedValue(kind, name, row);
    return [configRow(kind, name, row, formatValue(value, row.type))];
  });
}

/** A key of which this version has one value only does not appear in the configuration, but is in force. */
function fixedValue(kind: SectionKind, name: string, row: KeyRow): ConfigRow[] {
  if (row.default === undefined) return [];
  return [configRow(kind, name, row, row.default)];
}

function configRow(kind: SectionKind, name: string, row: KeyRow, value: string): ConfigRow {
  return {
    section: sectionLabel({ kind, name }),
    kind,
    key: row.name,
    value,
    default: row.default ?? row.defaultHelp ?? '',
  };
}
