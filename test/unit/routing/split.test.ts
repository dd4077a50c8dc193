/**
 * Where a statement goes, by what it needs and what the session depends on. What a text needs is the classifier's
 * part (sql/classify.test.ts); here every bit is looked at by itself.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  destinationOf,
  explainDestination,
  type Destination,
  type SplitView,
  type StatementView,
} from '../../../src/routing/split.ts';
import { Leave, Need, type RouteHint } from '../../../src/sql/statement.ts';

function statement(change: Partial<StatementView> = {}): StatementView {
  return { class: 'read', needs: 0, leaves: 0, hint: 'none', ...change };
}

function session(change: Partial<SplitView> = {}): SplitView {
  return { pinned: false, autocommit: true, splits: true, seesAll: false, ...change };
}

function goes(
  change: Partial<StatementView>,
  who: Partial<SplitView> = {},
  wish: RouteHint = 'none',
): Destination {
  return destinationOf(statement(change), session(who), wish);
}

const READ_ONLY_BEGIN: Partial<StatementView> = {
  class: 'transaction',
  needs: Need.TRANSACTION,
  leaves: Leave.TRANSACTION | Leave.READ_ONLY,
};
const WRITE: Partial<StatementView> = { class: 'write', needs: Need.WRITE };

/** Needs of which somebody may say that a replica will do. */
const OVERRULED: ReadonlySet<string> = new Set([
  'SYSTEM_VARIABLE',
  'SYSTEM_SCHEMA',
  'SERVER_STATE',
  'UNKNOWN_FUNCTION',
]);
/** What only the connection of the statement before can answer. */
const OF_THE_LAST: ReadonlySet<string> = new Set(['ROW_COUNT', 'FOUND_ROWS', 'DIAGNOSTICS']);

suite('a read', () => {
  test('that needs nothing goes to a replica', () => {
    assert.equal(goes({}), 'replica');
  });

  test('of user variables goes to a replica: their values are brought along', () => {
    assert.equal(goes({ needs: Need.USER_VARIABLE }), 'replica');
  });

  for (const [name, bit] of Object.entries(Need)) {
    if (name === 'USER_VARIABLE') continue;
    const plain: Destination = OF_THE_LAST.has(name) ? 'last' : 'home';
    test(`that needs ${name} goes ${plain}`, () => {
      assert.equal(goes({ needs: bit }), plain);
      assert.equal(goes({ needs: bit | Need.USER_VARIABLE }), plain);
    });

    const asked: Destination = OVERRULED.has(name) ? 'replica' : plain;
    test(`that needs ${name} goes ${asked} when a comment or a rule asks for a replica`, () => {
      assert.equal(goes({ needs: bit, hint: 'replica' }), asked);
      assert.equal(goes({ needs: bit }, {}, 'replica'), asked);
    });
  }

  for (const [name, bit] of Object.entries(Leave)) {
    const to: Destination = name === 'FOUND_ROWS' ? 'replica' : 'home';
    test(`that leaves ${name} goes ${to}, also when a replica is asked for`, () => {
      assert.equal(goes({ leaves: bit }), to);
      assert.equal(goes({ leaves: bit, hint: 'replica' }), name === 'ANYTHING' ? 'replica' : to);
    });
  }

  test('of an unknown function that may leave anything goes to a replica only when that is asked for', () => {
    const call = { needs: Need.UNKNOWN_FUNCTION, leaves: Leave.ANYTHING };
    assert.equal(goes(call), 'home');
    assert.equal(goes({ ...call, hint: 'replica' }), 'replica');
    assert.equal(goes({ ...call, needs: call.needs | Need.WRITE, hint: 'replica' }), 'home');
  });
});

suite('no hint and no rule', () => {
  for (const kind of ['write', 'transaction', 'session', 'unknown'] as const) {
    test(`sends a statement of class ${kind} to a replica`, () => {
      assert.equal(goes({ class: kind, hint: 'replica' }, {}, 'replica'), 'home');
    });
  }

  test('takes a session away from where it is pinned', () => {
    for (const hint of ['primary', 'replica'] as const)
      assert.equal(goes({ hint }, { pinned: true }, hint), 'here');
  });
});

suite('a hint', () => {
  test('for the primary keeps a read at home', () => {
    assert.equal(goes({ hint: 'primary' }), 'home');
    assert.equal(goes({}, {}, 'primary'), 'home');
  });

  test('in the statement goes before a rule', () => {
    assert.equal(goes({ hint: 'replica' }, {}, 'primary'), 'replica');
    assert.equal(goes({ hint: 'primary' }, {}, 'replica'), 'home');
  });
});

suite('a session', () => {
  test('that is pinned stays, whatever it sends', () => {
    for (const change of [{}, WRITE, READ_ONLY_BEGIN, { needs: Need.ROW_COUNT }]) {
      assert.equal(goes(change, { pinned: true }), 'here');
    }
  });

  test('with autocommit off sends all home, but what asks after the statement before', () => {
    assert.equal(goes({}, { autocommit: false }), 'home');
    assert.equal(goes({ hint: 'replica' }, { autocommit: false }), 'home');
    assert.equal(goes(READ_ONLY_BEGIN, { autocommit: false }), 'home');
    assert.equal(goes({ needs: Need.DIAGNOSTICS }, { autocommit: false }), 'last');
  });

  test('of an endpoint that does not split sends all home', () => {
    assert.equal(goes({}, { splits: false }), 'home');
    assert.equal(goes({ hint: 'replica' }, { splits: false }, 'replica'), 'home');
    assert.equal(goes({ needs: Need.ROW_COUNT }, { splits: false }), 'last');
  });
});

suite('a transaction', () => {
  test('that is READ ONLY begins on a replica, unless the primary is asked for', () => {
    assert.equal(goes(READ_ONLY_BEGIN), 'replica');
    assert.equal(goes({ ...READ_ONLY_BEGIN, hint: 'primary' }), 'home');
    assert.equal(goes(READ_ONLY_BEGIN, {}, 'primary'), 'home');
  });

  test('that is READ ONLY begins at home where it must see what all have written, unless a replica is asked for', () => {
    assert.equal(goes(READ_ONLY_BEGIN, { seesAll: true }), 'home');
    assert.equal(goes({ ...READ_ONLY_BEGIN, hint: 'replica' }, { seesAll: true }), 'replica');
    assert.equal(goes(READ_ONLY_BEGIN, { seesAll: true }, 'replica'), 'replica');
  });

  test('that is not, or begins among several statements, begins at home', () => {
    assert.equal(goes({ ...READ_ONLY_BEGIN, leaves: Leave.TRANSACTION }), 'home');
    assert.equal(goes({ ...READ_ONLY_BEGIN, needs: Need.TRANSACTION | Need.SEVERAL }), 'home');
    assert.equal(goes({ ...READ_ONLY_BEGIN, leaves: READ_ONLY_BEGIN.leaves! | Leave.ANYTHING }), 'home');
  });
});

suite('the reasons', () => {
  function reasons(
    change: Partial<StatementView>,
    who: Partial<SplitView> & { pins?: string[] } = {},
    rule: { name: string; target: 'primary' | 'replica' } | null = null,
    evidence = '',
  ): string[] {
    const view = { ...session(who), pins: who.pins ?? [], home: 'the primary' };
    const to = destinationOf(statement(change), view, rule?.target ?? 'none');
    return explainDestination(statement(change), to, view, rule, evidence);
  }

  const CASES: readonly [what: string, said: string[], expected: string[]][] = [
    [
      'a pinned session: all its pins',
      reasons({}, { pinned: true, pins: ['a lock', 'a table'] }),
      ['the session keeps its connection: a lock', 'the session keeps its connection: a table'],
    ],
    ['a plain read', reasons({}), ['a read that every server answers alike']],
    [
      'a READ ONLY transaction',
      reasons(READ_ONLY_BEGIN),
      ['a READ ONLY transaction runs whole on a replica'],
    ],
    [
      'autocommit off',
      reasons(WRITE, { autocommit: false }),
      ['autocommit is off: every statement is part of a transaction, which may write'],
    ],
    [
      'an endpoint that does not split',
      reasons({}, { splits: false }),
      ['every statement of this endpoint goes to the primary'],
    ],
    ['a read that somebody wants at home', reasons({ hint: 'primary' }), ['a comment asks for the primary']],
    [
      'a rule',
      reasons({}, {}, { name: 'reports', target: 'primary' }),
      ["rule 'reports' asks for the primary"],
    ],
    [
      'a comment, which goes before a rule',
      reasons({ hint: 'replica' }, {}, { name: 'r', target: 'primary' }),
      ['a comment asks for the replica', 'a read that every server answers alike'],
    ],
    [
      'a write that somebody wants on a replica',
      reasons({ ...WRITE, hint: 'replica' }, {}, null, 'INSERT'),
      [
        'a comment asks for the replica',
        'it writes, or may write',
        'seen at: INSERT',
        'which no comment and no rule can send to a replica',
      ],
    ],
    [
      'a function that somebody knows',
      reasons({ needs: Need.UNKNOWN_FUNCTION, hint: 'replica' }, {}, null, 'f'),
      [
        'a comment asks for the replica',
        'it calls a function that is not known to only read',
        'seen at: f',
        'which a replica answers as well when it is asked to',
      ],
    ],
    [
      'a question after the statement before',
      reasons({ needs: Need.ROW_COUNT | Need.WRITE }),
      ['it asks for the ROW_COUNT of the statement before', 'so it goes to the connection that ran that one'],
    ],
    ['what is no read, and needs nothing', reasons({ class: 'session' }), ['it is no read']],
  ];
  for (const [what, said, expected] of CASES) test(`for ${what}`, () => assert.deepEqual(said, expected));

  for (const [name, bit] of Object.entries(Need)) {
    test(`name ${name}, and where it was seen`, () => {
      const said = reasons({ class: 'unknown', needs: bit }, {}, null, 'word');
      assert.equal(said[1], 'seen at: word');
      assert.match(said[0]!, /^(?:it |servers )/);
    });
  }
});
