import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import {
  EMPTY_STATE,
  formatState,
  openStateFile,
  parseState,
  type DurableState,
} from '../../../src/topology/state-file.ts';
import { handover } from '../../support/places.ts';

const STATE: DurableState = {
  epoch: 5,
  clusters: {
    main: {
      primary: 'db2',
      epoch: 5,
      alone: true,
      maintenance: false,
      inHand: ['db1', 'db3'],
      ownWrites: { epoch: 3, of: { db2: '0-2-7' } },
      longGone: { epoch: 5, servers: ['db3'] },
      promotion: { by: 'a', number: 7, ofEpoch: 5, target: 'db2', run: { step: 'fence' } },
      failoverWallMs: 1_718_000_000_000,
    },
    other: { primary: 'x1', handover: handover('2:500', '1:700', '2:520') },
  },
  backends: { db1: { rwWeight: 0, roWeight: 3, maxConnections: 10, admin: 'draining' }, db2: {} },
};

const directory = mkdtempSync(join(tmpdir(), 'dbproxy-state-'));
after(() => rmSync(directory, { recursive: true }));

test('what is saved is loaded by the next process', async () => {
  const place = join(directory, 'new', 'folder');
  assert.deepEqual(openStateFile(place).load(), EMPTY_STATE);
  await openStateFile(place).save(STATE);
  assert.deepEqual(openStateFile(place).load(), STATE);
  assert.deepEqual(readdirSync(place), ['state.json'], 'nothing is left beside it');
});

test('a file that cannot be understood is refused, and says what to do', () => {
  const place = join(directory, 'corrupt');
  mkdirSync(place);
  writeFileSync(join(place, 'state.json'), formatState(STATE).slice(0, 40));
  assert.throws(() => openStateFile(place).load(), {
    code: 'DBPROXY_STATE_UNREADABLE',
    message: /state\.json' cannot be used: it is not JSON/,
  });
});

test('a write that fails is refused and leaves the old state', async () => {
  const place = join(directory, 'unwritable');
  const file = openStateFile(place);
  file.load();
  await file.save(STATE);
  // A directory in the way of the temporary file, as root heeds no permissions.
  mkdirSync(join(place, 'state.json.new'));
  await assert.rejects(file.save({ ...STATE, epoch: 6 }), {
    code: 'DBPROXY_STATE_FILE',
    message: /nothing was changed/,
  });
  assert.equal(openStateFile(place).load().epoch, 5);
});

suite('a document is refused', () => {
  const good = JSON.parse(formatState(STATE)) as Record<string, unknown>;
  const table: [string, unknown, RegExp][] = [
    ['that is a list', [], /not a JSON object/],
    ['that is null', null, /not a JSON object/],
    ['of another format', { ...good, format: 2 }, /format 2, this version reads format 1/],
    ['without an epoch', { ...good, epoch: undefined }, /epoch/],
    ['with half an epoch', { ...good, epoch: 1.5 }, /epoch is 1.5/],
    ['with a negative epoch', { ...good, epoch: -1 }, /epoch/],
    ['without clusters', { ...good, clusters: undefined }, /clusters/],
    ['with a cluster without a primary', { ...good, clusters: { main: {} } }, /cluster main has no primary/],
    ...[
      [{ epoch: '5' }, /cluster main has an epoch/],
      [{ epoch: -1 }, /cluster main has an epoch/],
      [{ failoverWallMs: 1.5 }, /cluster main has a failoverWallMs/],
      [{ alone: 'yes' }, /cluster main has a flag/],
      [{ maintenance: 1 }, /cluster main has a flag/],
      [{ maintenance: null }, /cluster main has a flag/],
      [{ inHand: 'db1' }, /cluster main has an inHand/],
      [{ ownWrites: { epoch: 3, of: { db2: 7 } } }, /cluster main has an ownWrites/],
      [{ ownWrites: { of: {} } }, /cluster main has an ownWrites/],
      [{ longGone: { epoch: 3, servers: 'db3' } }, /cluster main has a longGone/],
      [{ longGone: { servers: [] } }, /cluster main has a longGone/],
      [{ promotion: { by: 'a', number: 7, ofEpoch: 5 } }, /cluster main has a promotion/],
      [
        { promotion: { by: 'a', number: '7', ofEpoch: 5, target: 'db2', run: {} } },
        /cluster main has a promotion/,
      ],
      [{ inHand: [1] }, /cluster main has an inHand/],
      [{ handover: {} }, /cluster main has a handover/],
      [
        { handover: { ...handover('2:5', '1:7'), end: { server: 'u1', file: 'f', position: -1 } } },
        /a handover/,
      ],
    ].map(([change, problem]): [string, unknown, RegExp] => [
      `with a cluster that has ${JSON.stringify(change)}`,
      { ...good, clusters: { main: { primary: 'db2', ...(change as object) } } },
      problem as RegExp,
    ]),
    ['with a weight in words', { ...good, backends: { db1: { rwWeight: 'x' } } }, /backend db1: rwWeight/],
    [
      'with a state it does not know',
      { ...good, backends: { db1: { admin: 'gone' } } },
      /backend db1: admin/,
    ],
    ['with a backend that is a number', { ...good, backends: { db1: 3 } }, /backend db1/],
  ];
  for (const [name, document, problem] of table) {
    test(name, () => {
      const parsed = parseState(JSON.stringify(document));
      assert.match(typeof parsed === 'string' ? parsed : 'it was accepted', problem);
    });
  }
});

test('a document cut at any place is refused', () => {
  const text = formatState(STATE).trimEnd();
  for (let length = 0; length < text.length; length++) {
    assert.equal(typeof parseState(text.slice(0, length)), 'string', `${length} bytes`);
  }
});
