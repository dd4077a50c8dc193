import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSha2Hash, matchesSha2Hash } from '../../../src/protocol/sha2-hash.ts';

const LONG = 'ünï-codé päss 0123456789 0123456789 0123456789 0123456789 0123456789';

/** What MySQL 9.7.4 stored in mysql.user, as HEX(authentication_string). */
const STORED: { name: string; password: string; hex: string }[] = [
  {
    name: 'caching_sha2_password, CRYPT5',
    password: 'app',
    hex: '244124303041242F01291554531E0E7A525B147E31625739290173304154704D5A69744C74684E452E69495A444C4279734742525643477930687051572E757A342E35524737',
  },
  {
    name: 'caching_sha2_password, CRYPT5, of a password longer than a digest',
    password: LONG,
    hex: '2441243030412412373050381A5C124825161D1F733A70404E33635143586D664A78664570726C51596F734779356F7070314751535341427978594473503546436D4244382F',
  },
  {
    name: 'caching_sha2_password, PBKDF2_SHA512',
    password: 'app',
    hex: '244224303041241C0D1E63494E52355B1C45045C226E6F327168034A5534524734695472465255352B73364A776D696839755A2F4C69726C6F67315A346C6D5648442B573536616C444C746A574E78434F56556B464853624D462F4B6C7257364771434A39776B332F7746695A6D416F513D3D',
  },
  {
    name: 'sha256_password',
    password: 'app',
    hex: '2435244376477C526B3E4E230B447A4F0F537B4257477C24652F6C2E52333130794B656A657569774D76577641753169776558462F6B5945734E346D344B342F364630',
  },
];

for (const { name, password, hex } of STORED) {
  const stored = Buffer.from(hex, 'hex');

  test(`${name}: what a real server stored fits its password and no other`, () => {
    assert.ok(isSha2Hash(stored));
    assert.equal(matchesSha2Hash(Buffer.from(password), stored), true);
    assert.equal(matchesSha2Hash(Buffer.from(`${password} `), stored), false);
    assert.equal(matchesSha2Hash(Buffer.alloc(0), stored), false);
  });

  test(`${name}: cut or changed anywhere, it is no hash or fits no more`, () => {
    for (let length = 0; length < stored.length; length++) {
      assert.equal(isSha2Hash(stored.subarray(0, length)), false, `cut at ${length}`);
    }
    assert.equal(isSha2Hash(Buffer.concat([stored, Buffer.from('x')])), false);
    for (const at of [stored.length - 1, stored.length - 44, 10]) {
      const changed = Buffer.from(stored);
      changed[at]! ^= 1;
      assert.equal(matchesSha2Hash(Buffer.from(password), changed), false, `changed at ${at}`);
    }
  });
}

test('a password above 256 bytes is refused without the work', () => {
  const stored = Buffer.from(STORED[0]!.hex, 'hex');
  assert.equal(matchesSha2Hash(Buffer.alloc(257, 0x61), stored), false);
  assert.equal(matchesSha2Hash(Buffer.alloc(1024 * 1024, 0x61), stored), false);
});

test('a hash of no rounds, and one of so many that it would stop us, are not taken', () => {
  const stored = Buffer.from(STORED[0]!.hex, 'hex');
  for (const [rounds, taken] of [
    ['000', false],
    ['001', true],
    ['064', true],
    ['065', false],
    ['FFF', false],
    ['0x5', false],
  ] as const) {
    const changed = Buffer.from(stored);
    changed.write(rounds, 3, 'latin1');
    assert.equal(isSha2Hash(changed), taken, rounds);
  }
});
