/**
 * The statements that one connection has prepared for those who share it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PreparedStatements, type ServerStatement } from '../../../src/backend/prepared-statements.ts';

function statement(id: number): ServerStatement {
  return { id, types: null };
}

/** One that keeps statements 1 to `count` under the keys a, b, c, … */
function filled(count: number): PreparedStatements {
  const statements = new PreparedStatements();
  for (let id = 1; id <= count; id++) {
    statements.keep(String.fromCharCode(0x60 + id), statement(id), count);
  }
  return statements;
}

test('finds what was kept, and only that', () => {
  const statements = new PreparedStatements();
  const kept = statement(7);
  assert.deepEqual(statements.keep('a', kept, 10), []);
  assert.equal(statements.find('a'), kept);
  assert.equal(statements.find('b'), undefined);
});

test('the one not used for longest gives way, and its number is told so that it can be closed', () => {
  const statements = filled(3);
  assert.deepEqual(statements.keep('d', statement(4), 3), [1]);
  assert.equal(statements.find('a'), undefined);
  assert.equal(statements.size, 3);
});

test('what was found counts as used', () => {
  const statements = filled(3);
  statements.find('a');
  assert.deepEqual(statements.keep('d', statement(4), 3), [2]);
});

test('a statement prepared again takes the place of the one before, which is to be closed', () => {
  const statements = filled(2);
  assert.deepEqual(statements.keep('a', statement(9), 2), [1]);
  assert.equal(statements.find('a')!.id, 9);
  assert.equal(statements.size, 2);
});

test('when fewer may be kept than before, all that are too many give way', () => {
  const statements = filled(4);
  assert.deepEqual(statements.keep('e', statement(5), 2), [1, 2, 3]);
  assert.equal(statements.size, 2);
});

test('the newest one is kept even where none may be: it is about to run', () => {
  const statements = filled(1);
  assert.deepEqual(statements.keep('b', statement(2), 0), [1]);
  assert.equal(statements.find('b')!.id, 2);
});

test('knows which numbers the server may know', () => {
  const statements = filled(2);
  assert.equal(statements.hasId(2), true);
  assert.equal(statements.hasId(3), false);
  statements.forget('b');
  assert.equal(statements.hasId(2), false);
  statements.clear();
  assert.equal(statements.hasId(1), false);
  assert.equal(statements.size, 0);
});
