/**
 * Executions of prepared statements, as real clients send them: what a proxy changes in them must leave all else
 * as it is. The captures are payloads without their headers.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { isRefusal } from '../../../src/base/errors.ts';
import { Capability } from '../../../src/protocol/constants.ts';
import {
  asksForCursor,
  placeOfTypes,
  setStatementId,
  statementIdOf,
  withTypes,
} from '../../../src/protocol/execute.ts';

const ATTRIBUTES: number = Capability.QUERY_ATTRIBUTES;

interface Vector {
  readonly what: string;
  readonly hex: string;
  readonly parameters: number;
  readonly capabilities: number;
  /** The types that it brings, empty when it brings none; null when none can be. */
  readonly types: string | null;
}

const VECTORS: readonly Vector[] = [
  {
    what: 'mysql2 3: a number, NULL and a text',
    hex: '17010000000001000000020105000600fd00000000000000f03f0474657874',
    parameters: 3,
    capabilities: 0,
    types: '05000600fd00',
  },
  {
    what: 'mysql2 3: NULL at the end',
    hex: '1701000000000100000004010500fd00060000000000000000400178',
    parameters: 3,
    capabilities: 0,
    types: '0500fd000600',
  },
  {
    what: 'sysbench with MariaDB Connector/C: the first execution',
    hex: '1702000000000100000000010800' + '0600000000000000',
    parameters: 1,
    capabilities: 0,
    types: '0800',
  },
  {
    what: 'sysbench with MariaDB Connector/C: the second, without types',
    hex: '17020000000001000000' + '0000' + '0400000000000000',
    parameters: 1,
    capabilities: 0,
    types: '',
  },
  { what: 'no parameters', hex: '17010000000001000000', parameters: 0, capabilities: 0, types: null },
  {
    what: 'nine parameters: a second byte of null bits',
    hex: '17010000000001000000' + 'ff01' + '01' + '0600'.repeat(9),
    parameters: 9,
    capabilities: 0,
    types: '0600'.repeat(9),
  },
  {
    what: 'with query attributes agreed on: a count, and a name with each type',
    hex: '17010000000801000000' + '01' + '00' + '01' + '080000' + '0700000000000000',
    parameters: 1,
    capabilities: ATTRIBUTES,
    types: '080000',
  },
  {
    what: 'the count is there without the flag that announces it, too',
    hex: '17010000000001000000' + '01' + '00' + '01' + '080000' + '0700000000000000',
    parameters: 1,
    capabilities: ATTRIBUTES,
    types: '080000',
  },
  {
    what: 'an attribute behind the parameter: its type is not the statement’s',
    hex: '17010000000801000000' + '02' + '00' + '01' + '080000' + 'fe000161' + '0700000000000000' + '0178',
    parameters: 1,
    capabilities: ATTRIBUTES,
    types: '080000',
  },
  {
    what: 'an attribute and no parameter',
    hex: '17010000000801000000' + '01' + '00' + '01' + 'fe000161' + '0178',
    parameters: 0,
    capabilities: ATTRIBUTES,
    types: '',
  },
  {
    what: 'a count of none',
    hex: '17010000000801000000' + '00',
    parameters: 0,
    capabilities: ATTRIBUTES,
    types: null,
  },
  {
    what: 'no parameters, and attributes possible but not there',
    hex: '17010000000001000000',
    parameters: 0,
    capabilities: ATTRIBUTES,
    types: null,
  },
  {
    what: 'attributes agreed on, types left out',
    hex: '17010000000801000000' + '01' + '00' + '00' + '0700000000000000',
    parameters: 1,
    capabilities: ATTRIBUTES,
    types: '',
  },
  {
    what: 'an attribute whose type is left out, which no server can know',
    hex: '17010000000801000000' + '02' + '00' + '00' + '0700000000000000' + '0178',
    parameters: 1,
    capabilities: ATTRIBUTES,
    types: null,
  },
  {
    what: 'a bulk execution with types',
    hex: 'fa010000008000' + '0800fe00' + '000100000000000000' + '000178' + '01' + '01',
    parameters: 2,
    capabilities: 0,
    types: '0800fe00',
  },
  {
    what: 'a bulk execution without types',
    hex: 'fa010000000000' + '000100000000000000' + '000178',
    parameters: 2,
    capabilities: 0,
    types: '',
  },
];

/** The types in an execution, in hexadecimal digits; null when none can be. */
function typesIn(payload: Buffer, { parameters, capabilities }: Vector): string | null {
  const { saidAt, start, end } = placeOfTypes(payload, parameters, capabilities);
  return saidAt < 0 ? null : payload.toString('hex', start, end);
}

suite('the types of the parameters', () => {
  for (const vector of VECTORS) {
    test(`are found: ${vector.what}`, () => {
      assert.equal(typesIn(Buffer.from(vector.hex, 'hex'), vector), vector.types);
    });
  }

  for (const vector of VECTORS.filter(({ types }) => types === '')) {
    if (vector.parameters === 0) continue;
    test(`are put in where they are missing: ${vector.what}`, () => {
      const payload = Buffer.from(vector.hex, 'hex');
      const types = Buffer.from('0800fe00'.slice(0, 4 * vector.parameters), 'hex');
      const place = placeOfTypes(payload, vector.parameters, vector.capabilities);
      const named = vector.capabilities === ATTRIBUTES ? Buffer.concat([types, Buffer.from([0])]) : types;
      const whole = withTypes(payload, place, named);
      assert.equal(typesIn(whole, vector), named.toString('hex'));
      assert.equal(
        whole.toString('hex', place.start + named.length),
        payload.toString('hex', place.end),
        'the values are as they were',
      );
      assert.equal(payload.toString('hex'), vector.hex, 'so is the command itself');
    });
  }

  for (const vector of VECTORS) {
    test(`are refused, never guessed, wherever the command is cut: ${vector.what}`, () => {
      const payload = Buffer.from(vector.hex, 'hex');
      const { end } = placeOfTypes(payload, vector.parameters, vector.capabilities);
      for (let length = 1; length < payload.length; length++) {
        const cut = payload.subarray(0, length);
        let place = null;
        try {
          place = placeOfTypes(cut, vector.parameters, vector.capabilities);
        } catch (error) {
          assert.ok(isRefusal(error) && error.code === 'DBPROXY_MALFORMED_PACKET', String(error));
        }
        if (place !== null) assert.ok(length >= end && place.end === end, `cut at ${length}`);
      }
    });
  }

  test('are not looked for in as many places as a count of a client says', () => {
    const many = Buffer.concat([
      Buffer.from('17010000000801000000feffffffffffff1f00', 'hex'),
      Buffer.alloc(100, 1),
    ]);
    assert.throws(() => placeOfTypes(many, 1, ATTRIBUTES), { code: 'DBPROXY_MALFORMED_PACKET' });
  });
});

test('the number of a statement is read and changed in place, wherever the command lies', () => {
  const bytes = Buffer.from('0000000017ddccbbff0001000000', 'hex');
  assert.equal(statementIdOf(bytes, 4), 0xffbbccdd);
  setStatementId(bytes, 4, 0xfffffffe);
  assert.equal(bytes.toString('hex'), '0000000017feffffff0001000000');
});

suite('a cursor', () => {
  const CASES: readonly [what: string, hex: string, asks: boolean][] = [
    ['is asked for by any of its flags', '17010000000101000000', true],
    ['is asked for beside a count', '17010000000901000000', true],
    ['is not asked for by the count alone', '17010000000801000000', false],
    ['is not asked for without flags', '17010000000001000000', false],
    ['is not asked for by a bulk execution', 'fa010000000100', false],
    ['is not asked for by a command that is cut', '1701000000', false],
  ];
  for (const [what, hex, asks] of CASES) {
    test(what, () => assert.equal(asksForCursor(Buffer.from(hex, 'hex')), asks));
  }
});
