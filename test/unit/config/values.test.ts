import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ValueType } from '../../../src/config/keys.ts';
import { formatValue, readValue, type Value } from '../../../src/config/values.ts';

const duration: ValueType = { kind: 'duration', minMs: 10 };
const workers: ValueType = { kind: 'integer', min: 1, max: 62, word: 'auto' };
const endpoint: ValueType = { kind: 'endpoint' };
const hash: ValueType = { kind: 'secret', pattern: /^\*\d+$/, looksLike: 'a star and digits' };

const good: [type: ValueType, text: string, value: Value, written?: string][] = [
  [duration, '250ms', 250],
  [duration, '10s', 10_000],
  [duration, '90s', 90_000],
  [duration, '120s', 120_000, '2m'],
  [duration, '5m', 300_000],
  [duration, '8h', 28_800_000],
  [{ kind: 'duration', minMs: 0 }, '0ms', 0, '0s'],
  [workers, '62', 62],
  [workers, 'auto', 'auto'],
  [{ kind: 'boolean' }, 'on', true],
  [{ kind: 'boolean' }, 'off', false],
  [{ kind: 'choice', values: ['json', 'pretty'] }, 'pretty', 'pretty'],
  [endpoint, '10.0.0.1:3306', { kind: 'tcp', host: '10.0.0.1', port: 3306 }],
  [endpoint, '[::1]:3306', { kind: 'tcp', host: '::1', port: 3306 }],
  [endpoint, 'db-1.example.org:3306', { kind: 'tcp', host: 'db-1.example.org', port: 3306 }],
  [endpoint, 'unix:/run/mysqld.sock', { kind: 'unix', path: '/run/mysqld.sock' }],
  [{ kind: 'networks' }, '10.0.0.0/8,::1', ['10.0.0.0/8', '::1'], '10.0.0.0/8, ::1'],
  [{ kind: 'reference', to: 'listener', many: true }, 'write, read', ['write', 'read']],
  [{ kind: 'reference', to: 'cluster', many: false }, 'main', 'main'],
  [{ kind: 'string' }, 'app', 'app'],
  [{ kind: 'path' }, '/var/lib/x', '/var/lib/x'],
];

for (const [type, text, value, written = text] of good) {
  test(`${type.kind} ${text} is read, and written as ${written}`, () => {
    assert.deepEqual(readValue(text, type), { value });
    assert.equal(formatValue(value, type), written);
  });
}

const bad: [type: ValueType, text: string, problem: RegExp][] = [
  [duration, '10', /a unit is missing: 10s\? 10ms\?/],
  [duration, '1d', /not a duration such as 250ms/],
  [duration, '-1s', /not a duration/],
  [duration, '1.5s', /not a duration/],
  [duration, '5ms', /below the least, 10ms/],
  [duration, '597h', /above the most, 596h/],
  [workers, '0', /not a whole number from 1 to 62 or auto/],
  [workers, '63', /not a whole number/],
  [workers, '1e1', /not a whole number/],
  [{ kind: 'boolean' }, 'yes', /neither on nor off/],
  [{ kind: 'choice', values: ['json', 'pretty'] }, 'prety', /none of json, pretty; did you mean 'pretty'\?/],
  [endpoint, '10.0.0.1', /not an address/],
  [endpoint, '10.0.0.300:3306', /not an address/],
  [endpoint, '10.0.0.1:70000', /not an address/],
  [endpoint, '*:3306', /for all addresses write 0\.0\.0\.0/],
  [endpoint, '[10.0.0.0/8]:3306', /not an address/],
  [endpoint, 'unix:relative.sock', /not an address/],
  [{ kind: 'networks' }, '10.0.0.0/8, nowhere', /'nowhere' is not an address or network/],
  [{ kind: 'reference', to: 'listener', many: true }, 'write,,read', /an empty name/],
  [{ kind: 'string' }, '', /must not be empty/],
  [{ kind: 'path' }, '', /must be a path/],
];

for (const [type, text, problem] of bad) {
  test(`${type.kind} '${text}' is refused`, () => {
    const reading = readValue(text, type);
    assert.ok('problem' in reading);
    assert.match(reading.problem, problem);
  });
}

test('a secret appears neither in a problem nor when it is written', () => {
  const reading = readValue('hunter2', hash);
  assert.deepEqual(reading, { problem: 'does not look like a star and digits' });
  assert.equal(formatValue('hunter2', hash), '********');
});

test('a secret may be empty', () => {
  assert.deepEqual(readValue('', { kind: 'secret' }), { value: '' });
});
