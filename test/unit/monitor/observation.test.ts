import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { classifyError, isAlive, isConnectionLost } from '../../../src/monitor/observation.ts';

function driverError(code: string, errno: number, message = 'words'): Error {
  return Object.assign(new Error(message), { code, errno });
}

suite('sorting errors', () => {
  const table: [string, number, string][] = [
    ['ECONNREFUSED', -111, 'refused'],
    ['ENOENT', -2, 'refused'],
    ['ETIMEDOUT', -110, 'timed_out'],
    ['EHOSTUNREACH', -113, 'host_unreachable'],
    ['ENOTFOUND', -3008, 'host_unreachable'],
    ['ER_ACCESS_DENIED_ERROR', 1045, 'access_denied'],
    ['ER_HOST_NOT_PRIVILEGED', 1130, 'access_denied'],
    ['ER_SPECIFIC_ACCESS_DENIED_ERROR', 1227, 'access_denied'],
    ['ER_CON_COUNT_ERROR', 1040, 'too_many_connections'],
    ['ER_USER_LIMIT_REACHED', 1226, 'too_many_connections'],
    ['ECONNRESET', -104, 'other'],
    ['EMFILE', -24, 'checker_broken'],
    ['ENOBUFS', -105, 'checker_broken'],
    ['EACCES', -13, 'checker_broken'],
    ['EADDRNOTAVAIL', -99, 'checker_broken'],
    ['ENETUNREACH', -101, 'host_unreachable'],
    ['PROTOCOL_CONNECTION_LOST', 0, 'other'],
    ['PROTOCOL_UNEXPECTED_PACKET', 0, 'protocol'],
    ['HANDSHAKE_NO_SSL_SUPPORT', 0, 'protocol'],
    ['ER_SERVER_SHUTDOWN', 1053, 'other'],
  ];
  for (const [code, errno, kind] of table) {
    test(`${code} is ${kind}`, () => assert.equal(classifyError(driverError(code, errno)).kind, kind));
  }

  test('an error without words has its code for words', () => {
    assert.equal(classifyError(driverError('ECONNREFUSED', -111, '')).message, 'ECONNREFUSED');
  });

  test('something thrown that is no error', () => {
    assert.deepEqual(classifyError('oh'), { kind: 'other', message: 'oh' });
  });
});

test('only an answering server counts as alive', () => {
  assert.equal(isAlive({ kind: 'access_denied', message: '' }), true);
  assert.equal(isAlive({ kind: 'too_many_connections', message: '' }), true);
  assert.equal(isAlive({ kind: 'checker_broken', message: '' }), false);
  assert.equal(isAlive({ kind: 'timed_out', message: '' }), false);
  assert.equal(isAlive({ kind: 'refused', message: '' }), false);
});

test('a broken connection is told from a refused one', () => {
  assert.equal(isConnectionLost(driverError('PROTOCOL_CONNECTION_LOST', 0)), true);
  assert.equal(isConnectionLost(driverError('ECONNREFUSED', -111)), false);
});
