import assert from 'node:assert/strict';
import { test } from 'node:test';
import { offerOf, RELAYED_CAPABILITIES } from '../../../src/frontend/offer.ts';
import { Capability } from '../../../src/protocol/constants.ts';
import { backendView } from '../../support/fake-worker.ts';

function offer(versions: Record<string, string | null>, primary: string | null = null) {
  const members = Object.entries(versions).map(([name, serverVersion]) =>
    backendView(name, { serverVersion }),
  );
  return offerOf(members, primary);
}

const NEWER = Capability.DEPRECATE_EOF | Capability.SESSION_TRACK;

test('newer flags are offered only when every server seen has them', () => {
  const cases: [versions: (string | null)[], newer: boolean][] = [
    [['10.11.6-MariaDB'], true],
    [['11.4.2-MariaDB'], true],
    [['10.1.48-MariaDB'], false],
    [['5.5.68-MariaDB'], false],
    [['5.6.51'], false],
    [['5.7.44'], true],
    [['8.0.36'], true],
    [['8.0.36', '5.6.51'], false],
    [['8.0.36', null], true],
    [[null], false],
    [[], false],
  ];
  for (const [versions, newer] of cases) {
    const { capabilities } = offer(
      Object.fromEntries(versions.map((version, index) => [`b${index}`, version])),
    );
    assert.equal(capabilities & NEWER, newer ? NEWER : 0, JSON.stringify(versions));
  }
});

test('nothing is offered that the relay does not understand', () => {
  const { capabilities } = offer({ a: '11.4.2-MariaDB' });
  assert.equal(capabilities & (Capability.SSL | Capability.COMPRESS | Capability.CONNECT_ATTRS), 0);
});

test("the version is the primary's, else that of any server seen", () => {
  assert.equal(offer({ a: '8.0.1', b: '8.0.2' }, 'b').serverVersion, '8.0.2');
  assert.equal(offer({ a: null, b: '8.0.2' }, 'a').serverVersion, '8.0.2');
  assert.match(offer({ a: null }).serverVersion, /MariaDB/);
});

test('MariaDB 10 greets with the prefix that its own servers use, later ones do not', () => {
  assert.equal(offer({ a: '10.11.6-MariaDB' }).serverVersion, '5.5.5-10.11.6-MariaDB');
  assert.equal(offer({ a: '11.4.2-MariaDB' }).serverVersion, '11.4.2-MariaDB');
});

test('flags that shape the answers are asked of the server as well, those of a login alone are not', () => {
  for (const flag of [
    Capability.DEPRECATE_EOF,
    Capability.MULTI_RESULTS,
    Capability.FOUND_ROWS,
    Capability.LOCAL_FILES,
  ]) {
    assert.notEqual(RELAYED_CAPABILITIES & flag, 0);
  }
  assert.equal(RELAYED_CAPABILITIES & (Capability.CONNECT_WITH_DB | Capability.PLUGIN_AUTH), 0);
});
