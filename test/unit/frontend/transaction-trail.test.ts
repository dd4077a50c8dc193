import assert from 'node:assert/strict';
import { it } from 'node:test';
import { TransactionTrail } from '../../../src/frontend/transaction-trail.ts';

function add(trail: TransactionTrail, sql: string, prepared = false, nowMs = 5): void {
  const bytes = Buffer.from(`..${sql}..`);
  trail.add(bytes, 2, bytes.length - 2, prepared, nowMs);
}

it('keeps the statements of a transaction in their order, and when the first was sent', () => {
  const trail = new TransactionTrail();
  add(trail, 'insert 1', false, 7);
  add(trail, 'update 2', false, 9);
  assert.equal(trail.beganAtMs, 7);
  assert.deepEqual(trail.texts(), ['insert 1', 'update 2']);
});

it('forgets a transaction that is over, and keeps its memory for the next', () => {
  const trail = new TransactionTrail();
  add(trail, 'insert 1');
  trail.clear();
  assert.deepEqual([trail.writeCount, trail.texts()], [0, []]);
  add(trail, 'insert 2', false, 11);
  assert.equal(trail.beganAtMs, 11);
  assert.deepEqual(trail.texts(), ['insert 2']);
});

it('of very many statements only the number is told', () => {
  const trail = new TransactionTrail();
  for (let n = 0; n < 100; n++) add(trail, `insert ${n}`);
  assert.deepEqual([trail.writeCount, trail.texts().length], [100, 0]);
});

it('of statements of more than 64 KiB only the number is told', () => {
  const trail = new TransactionTrail();
  add(trail, 'x'.repeat(60_000));
  add(trail, 'y'.repeat(10_000));
  assert.deepEqual([trail.writeCount, trail.texts().length], [2, 0]);
});

it('of a transaction with a prepared statement only the number is told', () => {
  const trail = new TransactionTrail();
  add(trail, 'insert 1');
  add(trail, 'update ?', true);
  assert.deepEqual([trail.writeCount, trail.texts()], [2, []]);
});
