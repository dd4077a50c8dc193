import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildUsers } from '../../../src/frontend/users.ts';
import { user } from '../../support/fake-worker.ts';

test('a user without lists may come from everywhere to every listener', () => {
  const app = buildUsers([user()]).get('app')!;
  assert.equal(app.allowsAddress('192.0.2.1'), true);
  assert.equal(app.allowsAddress('2001:db8::1'), true);
  assert.equal(app.allowsListener('write'), true);
});

test('a user with lists may come from there only, and through a local socket', () => {
  const app = buildUsers([user({ allow: ['10.0.0.0/8', '::1'], listeners: ['read'] })]).get('app')!;
  const allowed = ['10.1.2.3', '::1', '192.0.2.1', 'localhost'].map((address) => app.allowsAddress(address));
  assert.deepEqual(allowed, [true, true, false, true]);
  assert.equal(app.allowsListener('read'), true);
  assert.equal(app.allowsListener('write'), false);
});

test('names are told apart by case', () => {
  const users = buildUsers([user({ name: 'App' })]);
  assert.equal(users.get('app'), undefined);
});
