import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  completePosition,
  countLacking,
  holdsPosition,
  stateAt,
  writersLacking,
} from '../../../src/monitor/gtid.ts';

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

test('a position says nothing of a domain, and another one does', () => {
  assert.equal(completePosition('0-2-23', '0-1-9,1-3-4'), '0-2-23,1-3-4');
  assert.equal(completePosition('', '0-1-9'), '0-1-9');
  assert.equal(completePosition('0-2-23', ''), '0-2-23');
});

suite('a binary log that has gone on to a position', () => {
  const table: [string, string, string, string][] = [
    // what, state, position, state then
    ['by another one: its last number is the end', '0-1-9', '0-2-10', '0-1-9,0-2-10'],
    ['by one that has written before', '0-2-7,0-1-9', '0-2-10', '0-1-9,0-2-10'],
    ['in several domains', '0-1-9,1-3-4,1-1-5', '0-1-12,1-3-6', '1-1-5,0-1-12,1-3-6'],
    ['and was empty', '', '0-1-3', '0-1-3'],
    ['and has not', '0-1-9,0-2-10', '0-2-10', '0-1-9,0-2-10'],
  ];
  for (const [what, state, position, then] of table) {
    test(what, () => assert.equal(stateAt(state, position), then));
  }
});

test('who has written before, and a log that has gone on since knows nothing of', () => {
  assert.equal(writersLacking('0-1-9,0-2-23', '0-2-25'), '0-1-9');
  assert.equal(writersLacking('0-1-9,0-2-23', '0-1-8,0-2-25'), '', 'it knows of that one');
  assert.equal(writersLacking('0-1-9,0-2-23', '0-3-8'), '', 'it has not come so far');
  assert.equal(writersLacking('0-1-9,1-2-3', '0-2-25'), '0-1-9', 'of another domain it has nothing at all');
  assert.equal(writersLacking('', '0-2-25'), '');
  assert.equal(writersLacking('3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5', ''), '');
});
