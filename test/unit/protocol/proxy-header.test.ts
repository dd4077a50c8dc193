import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isRefusal } from '../../../src/base/errors.ts';
import {
  parseProxyHeader,
  writeProxyHeaderV2,
  type ParsedProxyHeader,
  type ProxySource,
} from '../../../src/protocol/proxy-header.ts';

const SIGNATURE = '0d0a0d0a000d0a515549540a';
const hex = (text: string): Buffer => Buffer.from(text, 'hex');

/** What HAProxy 2.6 sent, without the byte of the client that followed. */
const captured: [what: string, bytes: Buffer, source: ProxySource | null][] = [
  [
    'v1 of an IPv4 client',
    Buffer.from('PROXY TCP4 127.0.0.1 127.0.0.1 41001 24631\r\n'),
    { address: '127.0.0.1', port: 41001 },
  ],
  [
    'v1 of an IPv6 client',
    Buffer.from('PROXY TCP6 ::1 ::1 41004 24634\r\n'),
    { address: '::1', port: 41004 },
  ],
  ['v1 of a Unix client', Buffer.from('PROXY UNKNOWN\r\n'), null],
  [
    'v2 of an IPv4 client',
    hex(`${SIGNATURE}2111000c7f0000017f000001a02a6038`),
    { address: '127.0.0.1', port: 41002 },
  ],
  [
    'v2 with a checksum and a unique id behind the addresses',
    hex(`${SIGNATURE}2111001d7f0000017f000001a02b6039030004b340fe6a05000732353139302d32`),
    { address: '127.0.0.1', port: 41003 },
  ],
  [
    'v2 of an IPv6 client',
    hex(`${SIGNATURE}21210024${'0'.repeat(31)}1${'0'.repeat(31)}1a02d603b`),
    { address: '::1', port: 41005 },
  ],
  ['v2 of a Unix client, and of a check', hex(`${SIGNATURE}20000000`), null],
];

describe('reading', () => {
  for (const [what, bytes, source] of captured) {
    const expected: ParsedProxyHeader = { kind: 'header', bytes: bytes.length, source };

    test(`${what} is read, whatever follows`, () => {
      assert.deepEqual(parseProxyHeader(bytes), expected);
      assert.deepEqual(parseProxyHeader(Buffer.concat([bytes, Buffer.from('more\r\n')])), expected);
    });

    test(`${what} is incomplete at every cut`, () => {
      for (let cut = 0; cut < bytes.length; cut++) {
        assert.deepEqual(parseProxyHeader(bytes.subarray(0, cut)), { kind: 'incomplete' }, `cut at ${cut}`);
      }
    });
  }

  test('a client that begins with its login has none, from the first byte that differs', () => {
    const login = hex('2300000185a6ff01');
    assert.deepEqual(parseProxyHeader(login), { kind: 'none' });
    assert.deepEqual(parseProxyHeader(login.subarray(0, 1)), { kind: 'none' });
    // A login of 13 bytes begins like the signature of version 2, and one of 0x4f5250 bytes like version 1.
    assert.deepEqual(parseProxyHeader(hex('0d0a0d01')), { kind: 'none' });
    assert.deepEqual(parseProxyHeader(Buffer.from('PRO\x01')), { kind: 'none' });
  });

  const sources: [bytes: string | Buffer, source: ProxySource | null][] = [
    ['PROXY TCP6 ::ffff:10.1.2.3 ::1 7 3306\r\n', { address: '10.1.2.3', port: 7 }],
    [
      'PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n',
      { address: '255.255.255.255', port: 65535 },
    ],
    ['PROXY UNKNOWN ffff:f...f:ffff whatever 65535\r\n', null],
    [
      hex(`${SIGNATURE}2121002420010db8000000000000000000000abc${'0'.repeat(32)}00070cea`),
      { address: '2001:db8::abc', port: 7 },
    ],
    [
      hex(`${SIGNATURE}2121002400000000000000000000ffff0a010203${'0'.repeat(32)}00070cea`),
      { address: '10.1.2.3', port: 7 },
    ],
    [hex(`${SIGNATURE}213100d8${'00'.repeat(216)}`), null],
    [hex(`${SIGNATURE}21000003010203`), null],
    // A sender that speaks for itself may fill in what it wants.
    [hex(`${SIGNATURE}2011000c0a0102030a01020400070cea`), null],
  ];
  for (const [written, source] of sources) {
    const bytes = Buffer.from(written);
    test(`${typeof written === 'string' ? written.trim() : bytes.toString('hex')} comes from ${source?.address ?? 'nobody'}`, () => {
      assert.deepEqual(parseProxyHeader(bytes), { kind: 'header', bytes: bytes.length, source });
    });
  }

  const malformed: [bytes: string | Buffer, why: RegExp][] = [
    ['PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n', /'TCP5' is none of/],
    ['PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n', /not two addresses/],
    ['PROXY TCP4 ::1 ::1 1 2\r\n', /not two addresses/],
    ['PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n', /not two addresses/],
    ['PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n', /'65536' is not a port/],
    ['PROXY TCP4 1.2.3.4 1.2.3.4 1 -2\r\n', /'-2' is not a port/],
    ['PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n', /'01' is not a port/],
    ['PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n', /'' is not a port/],
    ['PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n', /not two addresses/],
    ['PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n', /not two addresses/],
    ['PROXY \x00\x1b[31m\r\n', /'\?\?\[31m' is none of/],
    [`PROXY TCP4 ${'1'.repeat(107)}`, /no end within 107 bytes/],
    [hex(`${SIGNATURE}3111000c0a0102030a01020400070cea`), /version 3 is unknown/],
    [hex(`${SIGNATURE}2211000c0a0102030a01020400070cea`), /command 2 is unknown/],
    [hex(`${SIGNATURE}2112000c0a0102030a01020400070cea`), /family and protocol 0x12/],
    [hex(`${SIGNATURE}2111000b0a0102030a01020400070c`), /addresses take 12 bytes and it has 11/],
    [hex(`${SIGNATURE}21210023${'00'.repeat(35)}`), /addresses take 36 bytes and it has 35/],
    [hex(`${SIGNATURE}21110ff1`), /4097 bytes; 4096 are the limit/],
    [hex(`${SIGNATURE}2111ffff`), /the limit/],
  ];
  for (const [written, why] of malformed) {
    const bytes = Buffer.from(written);
    test(`${JSON.stringify(typeof written === 'string' ? written.slice(0, 50) : bytes.toString('hex'))} is malformed`, () => {
      assert.throws(
        () => parseProxyHeader(bytes),
        (error) => isRefusal(error) && error.code === 'DBPROXY_PROXY_HEADER' && why.test(error.message),
      );
    });
  }
});

describe('writing version 2', () => {
  test('is what HAProxy writes', () => {
    const source = { address: '127.0.0.1', port: 41002 };
    const destination = { address: '127.0.0.1', port: 24632 };
    assert.deepEqual(writeProxyHeaderV2({ source, destination }), captured[3]![1]);
    assert.deepEqual(writeProxyHeaderV2('local'), captured[6]![1]);
    const six = { source: { address: '::1', port: 41005 }, destination: { address: '::1', port: 24635 } };
    assert.deepEqual(writeProxyHeaderV2(six), captured[5]![1]);
  });

  const sources: [address: string, read: string][] = [
    ['10.1.2.3', '10.1.2.3'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['2001:db8::1:0:0:abc', '2001:db8::1:0:0:abc'],
    ['fe80::1%eth0', 'fe80::1'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
    ['1::', '1::'],
  ];
  for (const [address, read] of sources) {
    for (const destination of ['10.9.9.9', '2001:db8::9']) {
      test(`${address} towards ${destination} is read back`, () => {
        const bytes = writeProxyHeaderV2({
          source: { address, port: 61234 },
          destination: { address: destination, port: 3306 },
        });
        assert.deepEqual(parseProxyHeader(bytes), {
          kind: 'header',
          bytes: bytes.length,
          source: { address: read, port: 61234 },
        });
      });
    }
  }
});
