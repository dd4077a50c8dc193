import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { countLacking, holdsPosition } from '../../../src/monitor/gtid.ts';

const A = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
const B = '4f22fb58-82db-22f2-af44-d91bba53a673';

suite('one position holds another', () => {
  const table: [string, string, boolean][] = [
    // whole, part, holds
    ['', '', true],
    ['0-1-5', '', true],
    ['', '0-1-5', false],
    ['0-1-5', '0-2-5', true],
    ['0-1-10', '0-1-9', true],
    ['0-1-9', '0-1-10', false],
    ['0-1-9,1-1-1', '1-1-1,0-1-3', true],
    ['0-1-9', '1-1-1', false],
    ['0-1-18446744073709551614', '0-1-18446744073709551615', false],
    ['0-1-5,0-1-9', '0-1-9', true],
    [`${A}:1-5`, `${A}:2-5`, true],
    [`${A}:1-5`, `${A}:5-6`, false],
    [`${A}:1-5:7`, `${A}:7`, true],
    [`${A}:1-5:7`, `${A}:6`, false],
    [`${A}:1-5,${A}:6-9`, `${A}:1-9`, true],
    [`${A}:1-5`, `${A.toUpperCase()}:1`, true],
    [`${A}:1-5,${B}:1`, `${B}:1`, true],
    [`${A}:1-5`, `${B}:1`, false],
    [`${A}:1-5:tag:1-2`, `${A}:tag:2`, true],
    [`${A}:1-5`, `${A}:tag:2`, false],
    ['nonsense', '', false],
    ['0-1-5', 'nonsense', false],
  ];
  for (const [whole, part, holds] of table) {
    test(`'${whole}' ${holds ? 'holds' : 'does not hold'} '${part}'`, () =>
      assert.equal(holdsPosition(whole, part), holds));
  }
});

suite('how many transactions one position lacks of another', () => {
  const table: [string, string, bigint | null][] = [
    ['', '', 0n],
    ['0-1-5', '0-1-9', 4n],
    [`${A}:1-5`, `${A}:1-6`, 1n],
    [`${A}:1-2:5-6:9`, `${A}:1-10`, 5n],
    [`${A}:3-20`, `${A}:1-5,${B}:7`, 3n],
    ['nonsense', `${A}:1`, null],
  ];
  for (const [whole, part, lacking] of table) {
    test(`'${whole}' of '${part}'`, () => assert.equal(countLacking(whole, part), lacking));
  }
});
