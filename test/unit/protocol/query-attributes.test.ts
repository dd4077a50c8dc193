import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Capability, Command } from '../../../src/protocol/constants.ts';
import { queryPayload, textStart, UNKNOWN_START } from '../../../src/protocol/query-attributes.ts';
import { PacketWriter } from '../../../src/protocol/writer.ts';

const { QUERY_ATTRIBUTES } = Capability;
const SQL = 'select 1';

/** A value with its type and its bytes; null is NULL. */
interface Attribute {
  name: string;
  type: number;
  value: Buffer | null;
}

function lenenc(text: string): Buffer {
  return new PacketWriter().lenencText(text).take();
}

/** The payload of a COM_QUERY with attributes (page_protocol_com_query). */
function withAttributes(attributes: readonly Attribute[], newTypes = 1): Buffer {
  const writer = new PacketWriter().u8(Command.QUERY).lenenc(attributes.length).lenenc(1);
  if (attributes.length > 0) {
    const bitmap = Buffer.alloc((attributes.length + 7) >>> 3);
    for (const [index, { value }] of attributes.entries()) {
      if (value === null) bitmap[index >>> 3]! |= 1 << (index & 7);
    }
    writer.bytes(bitmap).u8(newTypes);
    for (const { name, type } of attributes) writer.u16(type).lenencText(name);
    for (const { value } of attributes) if (value !== null) writer.bytes(value);
  }
  return writer.text(SQL).take();
}

const EVERY_TYPE: Attribute[] = [
  { name: 'tiny', type: 0x01, value: Buffer.alloc(1, 1) },
  { name: 'unsigned short', type: 0x8002, value: Buffer.alloc(2, 1) },
  { name: 'long', type: 0x03, value: Buffer.alloc(4, 1) },
  { name: 'float', type: 0x04, value: Buffer.alloc(4, 1) },
  { name: 'double', type: 0x05, value: Buffer.alloc(8, 1) },
  { name: 'null by bitmap', type: 0xfd, value: null },
  { name: 'longlong', type: 0x08, value: Buffer.alloc(8, 1) },
  { name: 'no time', type: 0x0b, value: Buffer.from([0]) },
  { name: 'timestamp', type: 0x07, value: Buffer.concat([Buffer.from([7]), Buffer.alloc(7, 1)]) },
  { name: 'datetime', type: 0x0c, value: Buffer.concat([Buffer.from([11]), Buffer.alloc(11, 1)]) },
  { name: 'text', type: 0xfd, value: lenenc('x'.repeat(300)) },
  { name: 'blob', type: 0xfc, value: lenenc('') },
  { name: '', type: 0xfe, value: lenenc('no name') },
];

test('the text is found behind attributes of every type, in any number', () => {
  for (let count = 0; count <= EVERY_TYPE.length; count++) {
    const payload = withAttributes(EVERY_TYPE.slice(0, count));
    const start = textStart(payload, 0, payload.length, QUERY_ATTRIBUTES);
    assert.equal(payload.toString('utf8', start), SQL, `${count} attributes`);
  }
});

test('the payload may lie anywhere in the buffer', () => {
  const payload = Buffer.concat([Buffer.alloc(7), withAttributes(EVERY_TYPE)]);
  const start = textStart(payload, 7, payload.length, QUERY_ATTRIBUTES);
  assert.equal(payload.toString('utf8', start), SQL);
});

test('bytes that end within the attributes tell nothing, at whichever byte they end', () => {
  const payload = withAttributes(EVERY_TYPE);
  const textAt = payload.length - SQL.length;
  for (let end = 1; end < textAt; end++) {
    assert.equal(textStart(payload, 0, end, QUERY_ATTRIBUTES), UNKNOWN_START, `end ${end}`);
  }
  assert.equal(textStart(payload, 0, textAt, QUERY_ATTRIBUTES), textAt);
});

test('types that servers read in ways of their own tell nothing: a length of 251, one above 2^32, two sets', () => {
  const hidden = Buffer.concat([Buffer.from([12]), Buffer.from(' SELECT 1 --')]);
  const cases: [name: string, payload: Buffer][] = [
    ...[0x0d, 0x09, 0x0101, 0x06, 0x0e, 0x11].map((type): [string, Buffer] => [
      `type 0x${type.toString(16)}`,
      withAttributes([{ name: '', type, value: hidden }]),
    ]),
    ['length 0xfb', withAttributes([{ name: '', type: 0xfe, value: Buffer.alloc(252, 0xfb) }])],
    [
      'upper length',
      withAttributes([{ name: '', type: 0xfe, value: Buffer.from('fe0c00000001000000', 'hex') }]),
    ],
    ['two sets', Buffer.concat([Buffer.from([Command.QUERY, 0, 2]), Buffer.from(SQL)])],
  ];
  for (const [name, payload] of cases) {
    assert.equal(textStart(payload, 0, payload.length, QUERY_ATTRIBUTES), UNKNOWN_START, name);
  }
});

test('attributes without their types, and counts that lie, tell nothing', () => {
  const untyped = withAttributes(EVERY_TYPE, 0);
  const lying = Buffer.from([Command.QUERY, 0xfe, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0]);
  for (const payload of [untyped, lying]) {
    assert.equal(textStart(payload, 0, payload.length, QUERY_ATTRIBUTES), UNKNOWN_START);
  }
});

test('without the capability, and in other commands, the text follows the command byte', () => {
  assert.equal(textStart(Buffer.from('\x03select 1'), 0, 9, 0), 1);
  assert.equal(textStart(Buffer.from('\x16\x00\x01'), 0, 3, QUERY_ATTRIBUTES), 1);
});

test('a query of our own is written as the connection wants it', () => {
  for (const capabilities of [0, QUERY_ATTRIBUTES]) {
    const payload = queryPayload(SQL, capabilities);
    const start = textStart(payload, 0, payload.length, capabilities);
    assert.equal(payload[0], Command.QUERY);
    assert.equal(payload.toString('utf8', start), SQL);
  }
});
