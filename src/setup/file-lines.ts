/**
 * What belongs into the file of a server that cannot keep settings by SQL (MariaDB, MySQL 5.6 and 5.7), so that its
 * next start is what a bootstrap has made of it: a replica that is read-only, acknowledges, and logs whole rows. Pure.
 */
import type { ClusterConfig } from '../config/config.ts';
import { isOn } from '../monitor/flavour/row.ts';
import { semiSyncTimeoutMs } from '../monitor/flavour/setup.ts';
import { valueAtStart, wantedLogFile, type Survey } from './survey.ts';

/** The lines that are missing, or of which nobody can tell; empty where SQL keeps all. */
export function fileLines(survey: Survey, { semiSync }: Pick<ClusterConfig, 'semiSync'>): string[] {
  const { words } = survey;
  if (words.persists) return [];
  const { primarySwitch, replicaSwitch, timeout, waitPoint } = words.semiSync;
  const wanted: [string, string][] = [
    ['read_only', 'ON'],
    ['binlog_format', 'ROW'],
  ];
  if (survey.variables.has('super_read_only')) wanted.push(['super_read_only', 'ON']);
  if (semiSync !== 'off') {
    wanted.push(
      [replicaSwitch, 'ON'],
      [primarySwitch, 'OFF'],
      [timeout, String(semiSyncTimeoutMs(semiSync))],
    );
    if (waitPoint !== null) wanted.push([waitPoint, 'AFTER_SYNC']);
    const logFile = wantedLogFile(survey);
    if (logFile !== null) wanted.push(['max_binlog_size', String(logFile)]);
  }
  const missing = wanted.filter(([name, value]) => !isSo(valueAtStart(survey, name), value));
  const lines = missing.map(([name, value]) => `${name} = ${value}`);
  // Whether this is there cannot be asked; it belongs to the switch that says the same of semi-sync.
  const recovers = words.family === 'mariadb' && lines.some((line) => line.startsWith(replicaSwitch));
  return recovers ? [...lines, 'init-rpl-role = SLAVE'] : lines;
}

function isSo(atStart: string | null, wanted: string): boolean {
  if (atStart === null) return false;
  if (wanted === 'ON' || wanted === 'OFF') return isOn(atStart) === (wanted === 'ON');
  return atStart.toUpperCase() === wanted;
}
