/**
 * The findings of `dbproxy doctor` as text: lines for people, a table for scripts. Pure.
 */
import type { Finding, Severity } from '../setup/finding.ts';
import { batchTable } from './result-table.ts';

/** One finding a paragraph, the worst first as they come, and a line that counts them. */
export function findingsForPeople(findings: readonly Finding[]): string {
  const subjects = Math.max(0, ...findings.map(({ subject }) => subject.length));
  const lines = findings.flatMap(({ severity, subject, id, words, remedy }) => {
    const indent = ' '.repeat('warning'.length + subjects + 4);
    const first = `${severity.padEnd('warning'.length)}  ${subject.padEnd(subjects)}  ${id}: ${words}`;
    return remedy === '' ? [first] : [first, `${indent}→ ${remedy}`];
  });
  return [...lines, summaryOf(findings)].join('\n');
}

/** Tab-separated, a header first. */
export function findingsForScripts(findings: readonly Finding[]): string {
  const rows = findings.map(({ severity, subject, id, words, remedy }) => [
    severity,
    subject,
    id,
    words,
    remedy,
  ]);
  return batchTable(['severity', 'subject', 'rule', 'finding', 'remedy'], rows);
}

function summaryOf(findings: readonly Finding[]): string {
  if (findings.length === 0) return 'all is well';
  const counts = (['error', 'warning', 'hint'] as const satisfies Severity[]).map((severity) => {
    const count = findings.filter((finding) => finding.severity === severity).length;
    return `${count} ${severity}${count === 1 ? '' : 's'}`;
  });
  return counts.join(', ');
}
