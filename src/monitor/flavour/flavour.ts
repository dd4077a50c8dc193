/**
 * All differences between MariaDB and the generations of MySQL, and nothing else: which statement asks a
 * question and which column holds the answer (`status`, `semi-sync`), which statement does an act (`acts`).
 * Everybody else speaks through a Flavour and does not know which server it is.
 *
 * | flavour   | servers            | words                                             |
 * |-----------|--------------------|---------------------------------------------------|
 * | mariadb   | MariaDB 10.x, 11.x | SLAVE; GTID positions by domain                    |
 * | mysql     | MySQL 5.6, 5.7     | SLAVE, MASTER; GTID sets; super_read_only from 5.7 |
 * | mysql8    | MySQL 8.0.23 on, 9 | REPLICA, SOURCE; GTID sets; super_read_only        |
 */
import { forChannel, mariadbActs, mysql56Acts, mysql57Acts, mysql8Acts, type ActWords } from './acts.ts';
import {
  mariadbStatus,
  mysql56Status,
  mysql57Status,
  mysql82Status,
  mysql8Status,
  type StatusWords,
} from './status.ts';

export type FlavourName = 'mariadb' | 'mysql' | 'mysql8';

export interface Flavour extends StatusWords, ActWords {
  readonly name: FlavourName;
}

const mariadb: Flavour = { name: 'mariadb', ...mariadbStatus, ...mariadbActs };
const mysql56: Flavour = { name: 'mysql', ...mysql56Status, ...mysql56Acts };
const mysql57: Flavour = { name: 'mysql', ...mysql57Status, ...mysql57Acts };
const mysql8: Flavour = { name: 'mysql8', ...mysql8Status, ...mysql8Acts };
const mysql82: Flavour = { ...mysql8, ...mysql82Status };

/**
 * The flavour of a server by its VERSION(), for example `10.11.6-MariaDB-0+deb12u1-log` or `8.0.36`. With a
 * channel, its words for acting are about that one alone.
 */
export function flavourOf(version: string, channel?: string): Flavour {
  const flavour = generationOf(version);
  if (channel === undefined || flavour === mysql56) return flavour;
  return { ...flavour, ...forChannel(flavour, flavour.name === 'mariadb' ? 'mariadb' : 'mysql', channel) };
}

function generationOf(version: string): Flavour {
  if (/mariadb/i.test(version)) return mariadb;
  const [major, minor, patch] = version.split(/[.-]/, 3).map(Number) as [number, number, number];
  if (major > 8 || (major === 8 && minor >= 2)) return mysql82;
  if (major === 8 && (minor > 0 || patch >= 23)) return mysql8;
  if (major > 5 || (major === 5 && minor >= 7)) return mysql57;
  return mysql56;
}
