import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { SlotLedger } from '../../../src/topology/slots.ts';

const KEY = 'backend:db1';

function ledgerOf(limit: number): SlotLedger {
  const ledger = new SlotLedger();
  ledger.setLimit(KEY, limit);
  return ledger;
}

suite('granting', () => {
  test('gives what is wanted while there is enough, and what is left when there is not', () => {
    const ledger = ledgerOf(10);
    assert.deepEqual(ledger.want(0, KEY, 8).grants, [{ holder: 0, key: KEY, count: 8 }]);
    assert.deepEqual(ledger.want(1, KEY, 8), {
      grants: [{ holder: 1, key: KEY, count: 2 }],
      wantedBack: [],
    });
    assert.deepEqual(ledger.standing(KEY), { limit: 10, granted: 10, waiting: 0 });
  });

  test('when none is free, others are asked for what idles, and a return is granted to who waits', () => {
    const ledger = ledgerOf(2);
    ledger.want(0, KEY, 2);
    assert.deepEqual(ledger.want(1, KEY, 4), {
      grants: [],
      wantedBack: [{ holder: 0, key: KEY, must: true }],
    });
    assert.deepEqual(ledger.giveBack(0, KEY, 1).grants, [{ holder: 1, key: KEY, count: 1 }]);
    assert.equal(ledger.standing(KEY)?.waiting, 0);
  });

  test('the need is said again as long as somebody waits', () => {
    const ledger = ledgerOf(3);
    ledger.want(0, KEY, 3);
    ledger.want(1, KEY, 1);
    ledger.want(2, KEY, 1);
    assert.deepEqual(ledger.giveBack(0, KEY, 1), {
      grants: [{ holder: 1, key: KEY, count: 1 }],
      wantedBack: [
        { holder: 0, key: KEY, must: true },
        { holder: 1, key: KEY, must: false },
      ],
    });
    assert.deepEqual(ledger.giveBack(0, KEY, 1), {
      grants: [{ holder: 2, key: KEY, count: 1 }],
      wantedBack: [],
    });
  });

  test('serves who waits longest first, and leaves a part to those behind', () => {
    const ledger = ledgerOf(4);
    ledger.want(0, KEY, 4);
    ledger.want(2, KEY, 4);
    ledger.want(1, KEY, 4);
    assert.deepEqual(ledger.giveBack(0, KEY, 1).grants, [{ holder: 2, key: KEY, count: 1 }]);
    ledger.want(2, KEY, 4);
    assert.deepEqual(ledger.giveBack(0, KEY, 3).grants, [
      { holder: 1, key: KEY, count: 1 },
      { holder: 2, key: KEY, count: 2 },
    ]);
  });

  test('a wish that is repeated does not count twice', () => {
    const ledger = ledgerOf(1);
    ledger.want(0, KEY, 1);
    ledger.want(1, KEY, 1);
    ledger.want(1, KEY, 1);
    assert.equal(ledger.giveBack(0, KEY, 1).grants.length, 1);
    assert.deepEqual(ledger.giveBack(1, KEY, 1).grants, []);
  });

  test('a key without a limit is not granted', () => {
    assert.deepEqual(ledgerOf(1).want(0, 'user:nobody', 1), { grants: [], wantedBack: [] });
  });
});

suite('returning', () => {
  test('more than a worker holds cannot come back', () => {
    const ledger = ledgerOf(2);
    ledger.want(0, KEY, 1);
    ledger.giveBack(0, KEY, 50);
    ledger.giveBack(1, KEY, 50);
    ledger.giveBack(0, KEY, -5);
    assert.equal(ledger.standing(KEY)?.granted, 0);
  });

  test('a dead worker’s slots go to those who wait, and its own wish is forgotten', () => {
    const ledger = ledgerOf(1);
    ledger.want(0, KEY, 1);
    ledger.want(1, KEY, 1);
    ledger.want(2, KEY, 1);
    ledger.release(1);
    assert.deepEqual(ledger.release(0).grants, [{ holder: 2, key: KEY, count: 1 }]);
  });
});

suite('changing the limit', () => {
  test('raising it serves those who wait', () => {
    const ledger = ledgerOf(1);
    ledger.want(0, KEY, 1);
    ledger.want(1, KEY, 1);
    assert.deepEqual(ledger.setLimit(KEY, 2).grants, [{ holder: 1, key: KEY, count: 1 }]);
  });

  test('lowering it asks for slots back and grants none until enough came', () => {
    const ledger = ledgerOf(4);
    ledger.want(0, KEY, 4);
    assert.deepEqual(ledger.setLimit(KEY, 2), {
      grants: [],
      wantedBack: [{ holder: 0, key: KEY, must: true }],
    });
    ledger.want(1, KEY, 1);
    assert.deepEqual(ledger.giveBack(0, KEY, 2).grants, []);
    assert.deepEqual(ledger.giveBack(0, KEY, 1).grants, [{ holder: 1, key: KEY, count: 1 }]);
  });
});

test('whatever the workers do, no more is granted than the limit, and none is lost', () => {
  let seed = 42;
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    return (seed >> 8) % below;
  };
  const limit = 7;
  const ledger = ledgerOf(limit);
  const held = [0, 0, 0];
  const take = (grants: readonly { holder: number; count: number }[]): void => {
    for (const { holder, count } of grants) held[holder]! += count;
  };
  for (let step = 0; step < 20_000; step++) {
    const holder = random(held.length);
    const action = random(10);
    if (action < 5) take(ledger.want(holder, KEY, 1 + random(8)).grants);
    else if (action < 9) {
      const count = random(held[holder]! + 1);
      held[holder]! -= count;
      take(ledger.giveBack(holder, KEY, count).grants);
    } else {
      held[holder] = 0;
      take(ledger.release(holder).grants);
    }
    const sum = held.reduce((total, count) => total + count, 0);
    const standing = ledger.standing(KEY)!;
    assert.equal(standing.granted, sum);
    assert.ok(sum <= limit);
    assert.ok(standing.waiting === 0 || sum === limit, 'nobody waits while a slot is free');
  }
});
