/**
 * haconf: the file by which an operator tells keepalived and dbproxy of this host what to do. One line of ten columns,
 * with blanks between them; empty lines and lines that begin with # do not count:
 *
 *     N dbproxy /usr 3001 null 192.168.1.1,192.168.1.2 N vi_dbproxy_73 null null
 *
 * Pure: a text in, what it says or all that is wrong with it out.
 */
import { isIP } from 'node:net';
import { canonicalAddress, formatEndpoint, parseEndpoint, type Endpoint } from '../base/address.ts';

/** What the file says. */
export interface Haconf {
  /** Column 1: everything by hand. */
  readonly maintenance: boolean;
  /** Column 5: where the primary is to be; null: nothing is said of it. The port is there for hosts with several servers. */
  readonly master: { readonly host: string; readonly port: number | null } | null;
  /** Column 6. */
  readonly slaves: readonly string[];
  /** Column 7: the service goes to the other host. */
  readonly errorMode: boolean;
  /** Column 8; null: nothing is said of it. */
  readonly instance: string | null;
}

export type HaconfReading = { readonly haconf: Haconf } | { readonly problem: string };

/** The file is read by a timer and by each check: it is small, or it is none. */
export const MAX_HACONF_BYTES = 65_536;

const NOTHING = 'null';
const COMMENT = '#';

interface ColumnRow {
  readonly meaning: string;
  /** What a value must be. */
  readonly form: string;
  fits(value: string): boolean;
}

const anything = (): boolean => true;
const isFlag = (value: string): boolean => /^[YN]$/i.test(value);

/** In the order of the line. */
const COLUMNS: readonly ColumnRow[] = [
  { meaning: 'maintenance', form: 'Y or N', fits: isFlag },
  { meaning: 'service', form: 'dbproxy', fits: (value) => value === 'dbproxy' },
  {
    meaning: 'mysql directory',
    form: 'an absolute path or null',
    fits: (value) => value === NOTHING || value.startsWith('/'),
  },
  { meaning: 'reserved', form: 'anything', fits: anything },
  {
    meaning: 'master IP',
    form: 'an IP address (or IP:PORT) or null',
    fits: (value) => value === NOTHING || readMaster(value) !== null,
  },
  {
    meaning: 'slave IP',
    form: 'a list of IP addresses without blanks or null',
    fits: (value) => value === NOTHING || value.split(',').every((part) => isIP(part) !== 0),
  },
  { meaning: 'error mode', form: 'Y or N', fits: isFlag },
  {
    meaning: 'VRRP instance',
    form: 'a name of letters, digits, _ . and -',
    fits: (value) => /^[A-Za-z0-9_.-]{1,64}$/.test(value),
  },
  { meaning: 'reserved', form: 'anything', fits: anything },
  { meaning: 'reserved', form: 'anything', fits: anything },
];

/** Reads the text of the file, which is for this VRRP instance (null: for any). */
export function parseHaconf(text: string, instance: string | null): HaconfReading {
  const lines = text
    .split('\n')
    .map((line, index) => ({ number: index + 1, text: line.trim() }))
    .filter((line) => line.text !== '' && !line.text.startsWith(COMMENT));
  const [line, second] = lines;
  if (line === undefined) return { problem: 'has no line' };
  if (second !== undefined)
    return { problem: `line ${second.number}: is a second one beside line ${line.number}` };
  const values = line.text.split(/\s+/);
  const problems = COLUMNS.flatMap((column, index) => {
    const value = values[index];
    const where = `column ${index + 1} (${column.meaning})`;
    if (value === undefined) return [`${where} is missing`];
    return column.fits(value) ? [] : [`${where}: '${value}' is not ${column.form}`];
  });
  if (values.length > COLUMNS.length)
    problems.push(`column ${COLUMNS.length + 1}: '${values[COLUMNS.length]}' is one too many`);
  if (problems.length > 0) return { problem: `line ${line.number}: ${problems.join('; ')}` };
  const [maintenance, , , , master, slaves, errorMode, named] = values as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  if (instance !== null && named !== NOTHING && named !== instance) {
    const wanted = `${instance}, which is [keepalived] instance, or null`;
    return { problem: `line ${line.number}: column 8 (VRRP instance): '${named}' is not ${wanted}` };
  }
  return {
    haconf: {
      maintenance: isYes(maintenance),
      master: readMaster(master),
      slaves: slaves === NOTHING ? [] : slaves.split(',').map(canonicalAddress),
      errorMode: isYes(errorMode),
      instance: named === NOTHING ? null : named,
    },
  };
}

/** The text of column 5, as it would be written. */
export function masterWords({ host, port }: NonNullable<Haconf['master']>): string {
  return port === null ? host : formatEndpoint({ kind: 'tcp', host, port });
}

/** The backends that are where column 5 says. */
export function backendsAt<B extends { readonly address: Endpoint }>(
  master: NonNullable<Haconf['master']>,
  backends: readonly B[],
): B[] {
  return backends.filter(
    ({ address }) =>
      address.kind === 'tcp' &&
      canonicalAddress(address.host) === master.host &&
      (master.port === null || address.port === master.port),
  );
}

function isYes(value: string): boolean {
  return value.toUpperCase() === 'Y';
}

function readMaster(value: string): Haconf['master'] {
  if (isIP(value) !== 0) return { host: canonicalAddress(value), port: null };
  const endpoint = parseEndpoint(value);
  if (endpoint?.kind !== 'tcp' || isIP(endpoint.host) === 0) return null;
  return { host: canonicalAddress(endpoint.host), port: endpoint.port };
}
