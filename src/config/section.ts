/**
 * One section of the file, its entries checked each for itself against the table of keys and read into
 * values; keys that are not written have their defaults. What several entries say together is checked in
 * `check.ts`.
 */
import type { Endpoint } from '../base/address.ts';
import { messageOf } from '../base/message-of.ts';
import { sectionLabel, type IniEntry, type IniSection, type Problem } from './ini.ts';
import { keysOf, type KeyRow, type SectionKind } from './keys.ts';
import { didYouMean } from './suggest.ts';
import { readValue, type Reading, type Value } from './values.ts';

/** What the reading of a file needs of the world around it. */
export interface ConfigContext {
  /** Name of the file, for messages. */
  file: string;
  env: NodeJS.ProcessEnv;
  /** Reads the file of a `key_file`, or a certificate; a relative path is relative to the configuration. */
  readFile(path: string): string;
  /** Who only wants to know a key or two does not need whole certificates. */
  ignoresCertificates?: boolean;
  /** Processor cores, for `workers = auto`. */
  cores: number;
  /** Standard output is a terminal, for `log_format`. */
  terminal?: boolean;
  /** Now, for certificates that have expired; without it nobody looks. */
  wallMs?: number;
}

/** The ending of `password_file` and its like. */
const FILE_SUFFIX = '_file';

/** A section whose entries have been read. Where an entry was wrong its value is absent. */
export class Section {
  readonly kind: SectionKind;
  readonly name: string;
  readonly line: number;
  readonly #values = new Map<string, Value>();
  readonly #lines = new Map<string, number>();

  constructor(kind: SectionKind, name: string, line: number) {
    this.kind = kind;
    this.name = name;
    this.line = line;
  }

  /** As the file writes it: `[cluster main]`. */
  get label(): string {
    return sectionLabel(this);
  }

  /** Line of a key, or of the section when the key is not written. */
  lineOf(key: string): number {
    return this.#lines.get(key) ?? this.line;
  }

  /** The file has the key, right or wrong. */
  isWritten(key: string): boolean {
    return this.#lines.has(key);
  }

  noteLine(key: string, line: number): void {
    this.#lines.set(key, line);
  }

  set(key: string, value: Value): void {
    this.#values.set(key, value);
  }

  value(key: string): Value | undefined {
    return this.#values.get(key);
  }

  text(key: string): string {
    return this.#typed(key, (value) => typeof value === 'string');
  }

  number(key: string): number {
    return this.#typed(key, (value) => typeof value === 'number');
  }

  flag(key: string): boolean {
    return this.#typed(key, (value) => typeof value === 'boolean');
  }

  endpoint(key: string): Endpoint {
    return this.#typed(key, (value): value is Endpoint => typeof value === 'object' && !Array.isArray(value));
  }

  /** A list that is empty when the key is not written. */
  list(key: string): string[] {
    return this.value(key) === undefined ? [] : this.#typed(key, (value) => Array.isArray(value));
  }

  /** Builders run on sections without problems only, so a miss here is a defect of the table. */
  #typed<T extends Value>(key: string, is: (value: Value) => value is T): T {
    const value = this.value(key);
    if (value === undefined || !is(value))
      throw new TypeError(`${this.label} ${key} has no value of its type`);
    return value;
  }
}

/** What is wrong with a key in the light of others. */
export function problemAt(section: Section, key: string, text: string): Problem {
  return { line: section.lineOf(key), text: `${section.label} ${key}: ${text}` };
}

/** Reads the entries of one section; adds what is wrong to `problems`. */
export function readSection(
  source: IniSection,
  kind: SectionKind,
  context: ConfigContext,
  problems: Problem[],
): Section {
  const section = new Section(kind, source.name, source.line);
  const rows = keysOf(kind);
  for (const name of source.brokenKeys) section.noteLine(rowOf(name, rows)?.name ?? name, source.line);
  for (const entry of source.entries) {
    const problem = readEntry(section, entry, rows, context);
    if (problem !== undefined) problems.push({ line: entry.line, text: `${section.label} ${problem}` });
  }
  for (const row of rows) {
    if (section.isWritten(row.name)) continue;
    if (row.required) {
      problems.push({ line: section.line, text: `${section.label} ${row.name}: is missing (${row.help})` });
    } else if (row.default !== undefined) {
      setValue(section, row, readValue(row.default, row.type));
    }
  }
  return section;
}

/** Reads one entry into the section; answers what is wrong with it. */
function readEntry(
  section: Section,
  entry: IniEntry,
  rows: readonly KeyRow[],
  context: ConfigContext,
): string | undefined {
  const row = rowOf(entry.key, rows);
  if (row === undefined) {
    const names = rows.map(({ name }) => name);
    return `${entry.key}: there is no such key in [${section.kind}]${didYouMean(entry.key, names)}`;
  }
  if (section.isWritten(row.name)) {
    const name = entry.key === row.name ? '' : `${row.name} `;
    return `${entry.key}: ${name}is given twice, first on line ${section.lineOf(row.name)}`;
  }
  section.noteLine(row.name, entry.line);
  const reading =
    row.type.kind === 'secret' ? readSecretEntry(entry, row, context) : readPlainEntry(entry, row);
  if ('refused' in reading) return reading.refused;
  return setValue(section, row, reading);
}

/** The row of a key; `password_file` leads to `password`. */
function rowOf(key: string, rows: readonly KeyRow[]): KeyRow | undefined {
  const exact = rows.find((row) => row.name === key);
  if (exact !== undefined || !key.endsWith(FILE_SUFFIX)) return exact;
  const base = key.slice(0, -FILE_SUFFIX.length);
  return rows.find((row) => row.name === base && row.type.kind === 'secret');
}

function setValue(section: Section, row: KeyRow, reading: Reading): string | undefined {
  if ('problem' in reading) return `${row.name}: ${reading.problem}`;
  section.set(row.name, reading.value);
  return undefined;
}

/**
 * Reads a value that is no secret. One that the contract has and this version has not is refused by
 * name; one that neither has is told what this version has.
 */
function readPlainEntry(entry: IniEntry, row: KeyRow): Reading | { refused: string } {
  const reading = readValue(entry.value, row.type);
  const { availability } = row;
  if (availability === 'all' || availability.includes(entry.value)) return reading;
  if ('problem' in reading) return { problem: `${reading.problem}; available: ${availability.join(', ')}` };
  return {
    refused: `${row.name} = ${entry.value} is not available in this version; available: ${availability.join(', ')}`,
  };
}

/**
 * Reads a secret: from the file a `key_file` names (without its last line end), from the environment for
 * `env:NAME`, or as written. In quotes nothing has a meaning, also not `env:`.
 */
function readSecretEntry(entry: IniEntry, row: KeyRow, context: ConfigContext): Reading {
  if (entry.key !== row.name) {
    try {
      return readValue(context.readFile(entry.value).replace(/\r?\n$/, ''), row.type);
    } catch (error) {
      return { problem: `the file '${entry.value}' cannot be read: ${messageOf(error)}` };
    }
  }
  if (!entry.quoted && entry.value.startsWith('env:')) {
    const name = entry.value.slice('env:'.length);
    const value = context.env[name];
    return value === undefined
      ? { problem: `the environment has no variable '${name}'` }
      : readValue(value, row.type);
  }
  if (!entry.quoted && entry.commented) {
    return {
      problem:
        '# or ; after a blank begins a comment; put the value in quotes, so that it is clear what belongs to it',
    };
  }
  return readValue(entry.value, row.type);
}
