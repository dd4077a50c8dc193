import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { decidePromotion, type Verdict, type Wish } from '../../../src/failover/check.ts';
import type { Member, Survey } from '../../../src/failover/survey.ts';
import type { HealthRecord } from '../../../src/monitor/detector.ts';
import type { ReplicationFacts, ServerFacts } from '../../../src/monitor/observation.ts';
import { memberFrom, surveyOf } from '../../support/clusters.ts';
import { clusterConfig } from '../../support/configs.ts';

const CLUSTER = clusterConfig();

interface Shape {
  record?: Partial<HealthRecord>;
  facts?: Partial<ServerFacts>;
  member?: Partial<Member>;
}

type Replication = Partial<ReplicationFacts> & { readonly from: string };

function member(name: string, replication: Replication | null, shape: Shape = {}): Member {
  const { from: source, ...rest } = replication ?? {};
  const described = memberFrom(name, {
    has: '',
    ...(source !== undefined && { from: source, replication: rest }),
    ...(shape.facts !== undefined && { facts: shape.facts }),
    record: { seenMs: null, lastInSync: null, ...shape.record },
  });
  return { ...described, ...shape.member };
}

function from(source: string, over: Partial<ReplicationFacts> = {}): Replication {
  return { from: source, ...over };
}

const DOWN: Shape = { record: { reach: 'down', reachReason: 'connection refused' } };
const ORPHANED: Partial<ReplicationFacts> = { receiver: 'connecting', lagMs: null };

const WISH: Wish = { target: 'db2', named: true, as: 'any', force: false };

function decide(members: Member[], over: Partial<Survey> = {}, wish: Partial<Wish> = {}): Verdict {
  return decidePromotion({ ...surveyOf({ servers: {} }), members, ...over }, { ...WISH, ...wish });
}

function assertRefused(verdict: Verdict, reason: RegExp): void {
  assert.equal(verdict.kind, 'refused');
  assert.match(verdict.kind === 'refused' ? verdict.reason : '', reason);
}

suite('switchover', () => {
  test('a replica of the living primary takes over; the other replicas will follow it', () => {
    const verdict = decide([member('db1', null), member('db2', from('db1')), member('db3', from('db1'))]);
    assert.ok(verdict.kind === 'switchover');
    assert.equal(verdict.old?.name, 'db1');
    assert.deepEqual(
      verdict.followers.map(({ name }) => name),
      ['db3'],
    );
  });

  test('also when a promotion that died had left the primary read-only', () => {
    const fenced = member('db1', null, { facts: { readOnly: true } });
    assert.equal(decide([fenced, member('db2', from('db1'))]).kind, 'switchover');
  });

  test('the source is known by its server id whatever name the replica has for it', () => {
    const replica = member('db2', from('db1', { sourceHost: 'another-name' }));
    assert.equal(decide([member('db1', null), replica]).kind, 'switchover');
  });

  test('a replica of a replica takes over, too; the one between follows it', () => {
    const verdict = decide([member('db1', null), member('db2', from('db3')), member('db3', from('db1'))]);
    assert.ok(verdict.kind === 'switchover');
    assert.equal(verdict.old?.name, 'db1');
    assert.deepEqual(
      verdict.followers.map(({ name }) => name),
      ['db3'],
    );
  });

  test('in a ring of two the writer gives its writes to the other', () => {
    const writer = member('db1', from('db2'), { facts: { readOnly: false } });
    assert.equal(decide([writer, member('db2', from('db1'))]).kind, 'switchover');
  });

  test('a primary that itself follows a server outside the cluster is refused', () => {
    const members = [member('db1', from('elsewhere')), member('db2', from('db1'))];
    assertRefused(
      decide(members),
      /db1, which it follows, replicates from a server that is not in the cluster/,
    );
  });

  test('what could not be written down is refused; what nobody asks for is tried', () => {
    const trouble = { stateTrouble: 'ENOSPC: no space left on device' };
    const members = [member('db1', null), member('db2', from('db1'))];
    assertRefused(decide(members, trouble), /written to state_dir \(ENOSPC.*free space/);
    assertRefused(decide(members, trouble, { force: true }), /written to state_dir/);
    assert.equal(decide(members, trouble, { isAutomatic: true }).kind, 'switchover');
  });

  test('with FORCE it is as careful: it loses nothing anyway', () => {
    const verdict = decide([member('db1', null), member('db2', from('db1'))], {}, { force: true });
    assert.ok(verdict.kind === 'switchover');
    assert.equal(verdict.force, false);
  });

  test('only a server that was named is the only one that may be promoted', () => {
    const members = [member('db1', null), member('db2', from('db1'))];
    const named = decide(members);
    const elected = decide(members, {}, { named: false });
    assert.ok(named.kind === 'switchover' && elected.kind === 'switchover');
    assert.deepEqual([named.only, elected.only], ['db2', null]);
  });

  const refusals: [string, Member[], RegExp, Partial<Survey>?][] = [
    ['an unknown server', [member('db1', null)], /not a backend of cluster 'main'/],
    [
      'a server that an operator took out',
      [member('db1', null), member('db2', from('db1'), { member: { admin: 'offline' } })],
      /offline by an operator; SET BACKEND db2 ONLINE/,
    ],
    [
      'a suspect server',
      [
        member('db1', null),
        member('db2', from('db1'), { record: { reach: 'suspect', reachReason: 'timed out' } }),
      ],
      /does not answer well: timed out/,
    ],
    [
      'a server without a binary log',
      [member('db1', null), member('db2', from('db1'), { facts: { logsChanges: false } })],
      /log_bin/,
    ],
    [
      'a server without GTIDs',
      [member('db1', null), member('db2', from('db1'), { facts: { hasGtid: false } })],
      /gtid_mode/,
    ],
    [
      'an old primary without GTIDs',
      [member('db1', null, { facts: { hasGtid: false } }), member('db2', from('db1'))],
      /on at it and off at the old primary \(gtid_mode\)/,
    ],
    [
      'a stopped receiver',
      [member('db1', null), member('db2', from('db1', { receiver: 'stopped' }))],
      /replication does not run .*db1 is alive/,
    ],
    [
      'a stopped applier, with its error',
      [member('db1', null), member('db2', from('db1', { applier: 'stopped', applierError: 'Duplicate' }))],
      /Duplicate/,
    ],
    [
      'more lag than could be caught up',
      [member('db1', null), member('db2', from('db1', { lagMs: 31_000 }))],
      /catch_up_timeout/,
    ],
    ['several sources', [member('db1', null), member('db2', from('db1', { channels: 2 }))], /2 sources/],
    [
      'a source outside the cluster',
      [member('db1', null), member('db2', from('elsewhere'))],
      /host-elsewhere:3306, which is no backend/,
    ],
    [
      'a replica of a server that is not the primary',
      [member('db1', null), member('db2', from('db3')), member('db3', null, { facts: { readOnly: true } })],
      /replicates from db3, not from the primary db1/,
    ],
    [
      'a third server that is writable',
      [member('db1', null), member('db2', from('db1')), member('db3', null)],
      /db3 is writable .*two writers/,
    ],
    [
      'an old primary of which it is not clear whether it lives',
      [
        member('db1', null, { record: { reach: 'suspect', reachReason: 'timed out, check 1 of 3' } }),
        member('db2', from('db1')),
      ],
      /not clear .*check 1 of 3/,
    ],
    [
      'an old primary that denies us access',
      [member('db1', null, { record: { reachReason: 'denies access' } }), member('db2', from('db1'))],
      /denies access/,
    ],
    [
      'no replication account, with what to do',
      [member('db1', null), member('db2', from('db1'))],
      /set replication_user and replication_password in \[cluster main\]/,
      { cluster: { ...CLUSTER, replicationUser: '' } },
    ],
  ];
  for (const [name, members, reason, over] of refusals) {
    test(`is refused for ${name}`, () => assertRefused(decide(members, over), reason));
  }
});

suite('failover', () => {
  test('a replica takes over from a primary that is down, also without a replication account', () => {
    const verdict = decide([member('db1', null, DOWN), member('db2', from('db1', ORPHANED))], {
      cluster: { ...CLUSTER, replicationUser: '' },
    });
    assert.equal(verdict.kind, 'failover');
  });

  test('the source is known by its address when it was never seen', () => {
    const unseen = member('db1', null, { record: { ...DOWN.record, facts: null } });
    assert.equal(decide([unseen, member('db2', from('db1', ORPHANED))]).kind, 'failover');
  });

  test('a stopped applier is no matter once everything is applied, and is one before', () => {
    const stopped = { ...ORPHANED, applier: 'stopped' } as const;
    const down = member('db1', null, DOWN);
    assert.equal(decide([down, member('db2', from('db1', stopped))]).kind, 'failover');
    assertRefused(
      decide([down, member('db2', from('db1', { ...stopped, drained: false }))]),
      /START SLAVE SQL_THREAD/,
    );
  });
});

suite('failover loses nothing that need not be lost', () => {
  const SEEN_MS = 100_000;
  const down = member('db1', null, { record: { ...DOWN.record, seenMs: SEEN_MS } });
  const replica = (name: string, inSyncMs: number | null, received: string, applied = received): Member =>
    member(name, from('db1', { ...ORPHANED, receivedPosition: received }), {
      record: { lastInSync: inSyncMs === null ? null : { atMs: inSyncMs, lagMs: 0 } },
      facts: { position: applied, replicatedPosition: applied },
    });

  test('a replica in sync within a check of when the primary was last seen takes over', () => {
    assert.equal(decide([down, replica('db2', SEEN_MS - 2_000, '0-1-5')]).kind, 'failover');
  });

  test('one whose receiver had stopped before is refused, with how long before', () => {
    assertRefused(decide([down, replica('db2', SEEN_MS - 60_000, '0-1-5')]), /in sync 60 s before/);
    assertRefused(decide([down, replica('db2', null, '0-1-5')]), /not been seen in sync at all/);
  });

  const uuid = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
  const table: [string, string, string, boolean][] = [
    // what it is, received by db2, received by db3, db2 may be promoted
    ['the same', '0-1-5', '0-1-5', true],
    ['the candidate ahead', '0-1-6', '0-1-5', true],
    ['the other ahead', '0-1-5', '0-1-6', false],
    ['the other ahead in one domain', '0-1-6,1-1-3', '0-1-5,1-1-4', false],
    ['MySQL, the other ahead', `${uuid}:1-5`, `${uuid}:1-6`, false],
    ['MySQL, the candidate ahead', `${uuid}:1-6`, `${uuid}:1-5`, true],
  ];
  for (const [name, mine, others, allowed] of table) {
    test(`received positions: ${name}`, () => {
      const verdict = decide([down, replica('db2', SEEN_MS, mine), replica('db3', SEEN_MS, others, mine)]);
      if (allowed) assert.equal(verdict.kind, 'failover');
      else assertRefused(verdict, /db3 has received more .*promote db3/);
    });
  }

  test('a replica that is down itself has nothing to give', () => {
    const gone = replica('db3', SEEN_MS, '0-1-9');
    const unreachable = { ...gone, record: { ...gone.record, reach: 'down', reachReason: 'x' } } as const;
    assert.equal(decide([down, replica('db2', SEEN_MS, '0-1-5'), unreachable]).kind, 'failover');
  });
});

suite('what is asked for', () => {
  const down = member('db1', null, DOWN);

  test('a SWITCHOVER from a primary that is down is refused, and says what to do', () => {
    assertRefused(
      decide([down, member('db2', from('db1', ORPHANED))], {}, { as: 'switchover' }),
      /db1 is down \(connection refused\); FAILOVER promotes without it/,
    );
  });

  test('a FAILOVER is done without asking a primary that answers but is hung', () => {
    const writeFailing = { sinceMs: 99_000, count: 3, reason: 'timed out', isLocked: false };
    const hung = member('db1', null, { record: { writeFailing } });
    const verdict = decide([hung, member('db2', from('db1'))], {}, { as: 'failover' });
    assert.equal(verdict.kind, 'failover');
  });

  test('a FAILOVER from a primary that is well is refused, and proposes a SWITCHOVER', () => {
    const members = [member('db1', null), member('db2', from('db1'))];
    assertRefused(
      decide(members, {}, { as: 'failover' }),
      /db1 is alive and well: SWITCHOVER TO db2 hands over .*FAILOVER TO db2 FORCE does it/,
    );
    for (const terms of [{ force: true }, { isOnPaper: true }, { isAutomatic: true }])
      assert.equal(decide(members, {}, { as: 'failover', ...terms }).kind, 'failover', JSON.stringify(terms));
  });

  test('a FAILOVER is carried out from one that is suspect, or read-only', () => {
    for (const over of [
      { record: { reach: 'suspect', reachReason: 'timed out' } },
      { facts: { readOnly: true } },
    ] as const) {
      const members = [member('db1', null, over), member('db2', from('db1'))];
      assert.equal(decide(members, {}, { as: 'failover' }).kind, 'failover', JSON.stringify(over));
    }
  });

  test('a server that does not replicate is never taken by a SWITCHOVER or FAILOVER', () => {
    const members = [down, member('db2', null)];
    for (const as of ['switchover', 'failover'] as const) {
      assertRefused(decide(members, {}, { as }), /does not replicate from the primary/);
    }
    assert.equal(decide(members).kind, 'adopt');
  });

  test('with FORCE it is promoted though it had not been in sync and another has more', () => {
    const seen = member('db1', null, { record: { ...DOWN.record, seenMs: 100_000 } });
    const stale = member('db2', from('db1', { ...ORPHANED, receivedPosition: '0-1-5' }));
    const ahead = member('db3', from('db1', { ...ORPHANED, receivedPosition: '0-1-9' }));
    assertRefused(decide([seen, stale, ahead]), /not been seen in sync at all/);
    const forced = decide([seen, stale, ahead], {}, { force: true });
    assert.ok(forced.kind === 'failover');
    assert.equal(forced.force, true);
  });

  test('but not with changes that it has received and cannot apply, nor beside a second writer', () => {
    const stopped = from('db1', { ...ORPHANED, applier: 'stopped', drained: false });
    assertRefused(decide([down, member('db2', stopped)], {}, { force: true }), /START SLAVE SQL_THREAD/);
    const members = [down, member('db2', from('db1', ORPHANED)), member('db3', null)];
    assertRefused(decide(members, {}, { force: true }), /db3 is writable/);
  });

  test('with semi_sync = require a failover needs the vouching of semi-sync, or FORCE', () => {
    const members = [down, member('db2', from('db1', ORPHANED))];
    const over = { cluster: clusterConfig({ semiSync: 'require' }) };
    assertRefused(decide(members, over), /not semi-synchronous .*FAILOVER TO db2 FORCE and lose that/);
    assert.equal(decide(members, over, { force: true }).kind, 'failover');
  });
});

suite('adoption', () => {
  test('a primary that a crash may have cut short takes writes again only with the FORCE that the refusal names', () => {
    const back = member('db1', null, { facts: { readOnly: true, keepsLog: false, uptimeSeconds: 1 } });
    const acknowledges = { semiSync: { primary: null, replica: { enabled: true, live: true } } };
    const members = [back, member('db2', from('db1', ORPHANED), { ...DOWN, facts: acknowledges })];
    const over = { cluster: clusterConfig({ semiSync: 'require' }) };
    assertRefused(
      decide(members, over, { target: 'db1' }),
      /db2, which may have that, cannot be asked; PROMOTE db1 FORCE gives that up/,
    );
    const forced = decide(members, over, { target: 'db1', force: true });
    assert.ok(forced.kind === 'adopt');
    assert.equal(forced.force, true);
  });

  test('a writable server is adopted only with all that the primary before it had', () => {
    const old = (position: string): Member => member('db1', null, { ...DOWN, facts: { position } });
    const target = member('db2', null, { facts: { position: '0-2-8', replicatedPosition: '0-1-7' } });
    assert.equal(decide([old('0-1-7'), target]).kind, 'adopt');
    assertRefused(decide([old('0-1-9'), target]), /has not all that the primary db1 had .*0-1-9/);
    const unseen = member('db1', null, { record: { ...DOWN.record, facts: null } });
    assertRefused(decide([unseen, target]), /not known, as db1 has not been seen/);
    assertRefused(decide([target]), /not known/);
  });

  test('the primary that is one already is refused', () => {
    assertRefused(decide([member('db1', null)], {}, { target: 'db1' }), /the primary already \(epoch 4\)/);
  });

  test('the primary that came back read-only is made writable', () => {
    const members = [member('db1', null, { facts: { readOnly: true } }), member('db2', from('db1'))];
    assert.equal(decide(members, {}, { target: 'db1' }).kind, 'adopt');
  });

  test('but not while another server is writable', () => {
    const members = [member('db1', null, { facts: { readOnly: true } }), member('db2', null)];
    assertRefused(decide(members, {}, { target: 'db1' }), /db2 is writable/);
  });

  test('a server that was promoted from outside is acknowledged when the primary is no writer any more', () => {
    assert.equal(decide([member('db1', null, DOWN), member('db2', null)]).kind, 'adopt');
    assert.equal(decide([member('db1', from('db2')), member('db2', null)]).kind, 'adopt');
  });

  test('one that was renamed in the configuration is taken on by FORCE, as nobody of its old name can be asked', () => {
    const renamed = [member('dbtwo', null), member('db1', from('dbtwo'))];
    const over = { remembered: 'db2' };
    assertRefused(
      decide(renamed, over, { target: 'dbtwo' }),
      /the configuration has no db2; put its section back .* PROMOTE dbtwo FORCE/,
    );
    assert.equal(decide(renamed, over, { target: 'dbtwo', force: true }).kind, 'adopt');
    // One that is in the configuration may be asked when it is back.
    const gone = member('db2', null, DOWN);
    const unseen = { ...gone, record: { ...gone.record, facts: null } };
    assertRefused(
      decide([unseen, ...renamed], over, { target: 'dbtwo', force: true }),
      /db2 has not been seen since dbproxy started/,
    );
  });

  test('two writable servers: neither is promoted before one is read-only', () => {
    const both = [member('db1', null), member('db2', null)];
    assertRefused(decide(both), /it does not follow db1, the primary of epoch 4/);
    assertRefused(decide(both, { remembered: null }), /db1 is writable/);
  });

  test('a standalone read-only server may lack transactions', () => {
    const standalone = member('db2', null, { facts: { readOnly: true } });
    assertRefused(decide([member('db1', null, DOWN), standalone]), /may lack transactions/);
  });
});
