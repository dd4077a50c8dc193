import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { errorRows, isRefusal, refusal } from '../../../src/base/errors.ts';

interface DocumentedRow {
  code: string;
  errno: number;
  sqlState: string;
  message: string;
  toDo: string;
}

/** The rows of the table in docs/errors.md. */
function documentedRows(): DocumentedRow[] {
  const text = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
  return text
    .split('\n')
    .filter((line) => line.startsWith('| `DBPROXY_'))
    .map((line) => {
      const cells = line.split('|').map((cell) => cell.trim());
      assert.equal(cells.length, 7, line);
      const [, code, errno, sqlState, message, toDo] = cells as [
        string,
        string,
        string,
        string,
        string,
        string,
      ];
      return { code: code.replaceAll('`', ''), errno: Number(errno), sqlState, message, toDo };
    });
}

test('docs/errors.md has the rows of the catalogue, in its order and no others', () => {
  const catalogue = errorRows().map(({ code, errno, sqlState, message }) => ({
    code,
    errno,
    sqlState,
    message: `\`${message.replaceAll('\n', '\\n')}\``,
  }));
  assert.deepEqual(
    documentedRows().map(({ code, errno, sqlState, message }) => ({ code, errno, sqlState, message })),
    catalogue,
  );
});

test('docs/errors.md says what to do about each', () => {
  assert.deepEqual(
    documentedRows().filter((row) => row.toDo.length < 10),
    [],
  );
});

test('each error has a number that MySQL clients accept and a SQLSTATE of five characters', () => {
  for (const { code, errno, sqlState } of errorRows()) {
    assert.ok(errno >= 1000 && errno <= 65_535, code);
    assert.match(sqlState, /^[0-9A-Z]{5}$/, code);
  }
});

test('a refusal carries its code, number, state and filled message', () => {
  const error = refusal('DBPROXY_ACCESS_DENIED', 'app', '10.0.0.1', 'YES');
  assert.ok(isRefusal(error));
  assert.equal(error.code, 'DBPROXY_ACCESS_DENIED');
  assert.equal(error.errno, 1045);
  assert.equal(error.sqlState, '28000');
  assert.equal(error.message, "Access denied for user 'app'@'10.0.0.1' (using password: YES)");
});

test('an error from elsewhere is no refusal, whatever its code', () => {
  assert.equal(isRefusal(Object.assign(new Error('x'), { code: 'ECONNRESET' })), false);
  assert.equal(isRefusal({ code: 'DBPROXY_CONFIG' }), false);
});
