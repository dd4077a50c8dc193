/**
 * A result set as text: boxed for people, tab-separated for scripts. Pure.
 */

/** NULL is null; all else is text. */
export type Cell = string | null;

/** Lines as the mysql client draws them. */
export function boxedTable(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const text = rows.map((row) => row.map((cell) => cell ?? 'NULL'));
  const widths = columns.map((column, index) =>
    Math.max(column.length, ...text.map((row) => row[index]?.length ?? 0)),
  );
  const rule = `+${widths.map((width) => '-'.repeat(width + 2)).join('+')}+`;
  const line = (cells: readonly string[]): string =>
    `|${widths.map((width, index) => ` ${(cells[index] ?? '').padEnd(width)} `).join('|')}|`;
  return [rule, line(columns), rule, ...text.map(line), rule].join('\n');
}

/** One line a row, columns parted by tabs, a header first; tabs and line ends in values are escaped. */
export function batchTable(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return [columns, ...rows].map((row) => row.map((cell) => escapeCell(cell)).join('\t')).join('\n');
}

function escapeCell(cell: Cell): string {
  if (cell === null) return 'NULL';
  return cell.replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n');
}
