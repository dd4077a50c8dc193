import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ClusterConfig } from '../../../src/config/config.ts';
import { decidePromotion, type Member, type Survey, type Verdict } from '../../../src/failover/check.ts';
import { FIRST_RECORD, type HealthRecord } from '../../../src/monitor/detector.ts';
import type { ReplicationFacts, ServerFacts } from '../../../src/monitor/observation.ts';
import { backendConfig } from '../../support/configs.ts';
import { MARIADB_10_11 } from '../../support/greetings.ts';

const CLUSTER: ClusterConfig = {
  name: 'main',
  monitorUser: 'm',
  monitorPassword: 'm',
  replicationUser: 'r',
  replicationPassword: 'r',
  checkIntervalMs: 1000,
  checkFastIntervalMs: 250,
  checkTimeoutMs: 1000,
  rise: 2,
  fall: 3,
  maxLagMs: 10_000,
  readmitLagMs: 5_000,
  catchUpTimeoutMs: 30_000,
  holdTimeoutMs: 10_000,
  transactionGraceMs: 5_000,
  users: 'import',
  usersIntervalMs: 30_000,
};

const ID_OF: Record<string, number> = { db1: 1, db2: 2, db3: 3 };

interface Shape {
  record?: Partial<HealthRecord>;
  facts?: Partial<ServerFacts>;
  member?: Partial<Member>;
}

function member(name: string, replication: ReplicationFacts | null, shape: Shape = {}): Member {
  const facts: ServerFacts = {
    version: '10.11.6-MariaDB',
    greeting: MARIADB_10_11,
    serverId: ID_OF[name]!,
    readOnly: replication !== null,
    logsChanges: true,
    hasGtid: true,
    sqlMode: '',
    position: '',
    replicatedPosition: '',
    replication,
    ...shape.facts,
  };
  return {
    backend: backendConfig(name),
    admin: 'online',
    record: { ...FIRST_RECORD, reach: 'up', reachReason: '', facts, ...shape.record },
    ...shape.member,
  };
}

function from(source: string, over: Partial<ReplicationFacts> = {}): ReplicationFacts {
  return {
    receiver: 'running',
    applier: 'running',
    lagMs: 0,
    sourceHost: `host-${source}`,
    sourcePort: 3306,
    sourceServerId: ID_OF[source] ?? 99,
    drained: true,
    receivedPosition: '',
    receiverError: '',
    applierError: '',
    channels: 1,
    ...over,
  };
}

const DOWN: Shape = { record: { reach: 'down', reachReason: 'connection refused' } };
const ORPHANED: Partial<ReplicationFacts> = { receiver: 'connecting', lagMs: null };

function decide(members: Member[], over: Partial<Survey> = {}): Verdict {
  return decidePromotion({ cluster: CLUSTER, target: 'db2', members, remembered: 'db1', epoch: 4, ...over });
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
      /GTIDs are off on db1/,
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
      'a replica of a replica',
      [member('db1', null), member('db2', from('db3')), member('db3', from('db1'))],
      /not from the primary db1/,
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

suite('adoption', () => {
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
    assertRefused(decide([member('db1', null)], { target: 'db1' }), /the primary already \(epoch 4\)/);
  });

  test('the primary that came back read-only is made writable', () => {
    const members = [member('db1', null, { facts: { readOnly: true } }), member('db2', from('db1'))];
    assert.equal(decide(members, { target: 'db1' }).kind, 'adopt');
  });

  test('but not while another server is writable', () => {
    const members = [member('db1', null, { facts: { readOnly: true } }), member('db2', null)];
    assertRefused(decide(members, { target: 'db1' }), /db2 is writable/);
  });

  test('a server that was promoted from outside is acknowledged when the primary is no writer any more', () => {
    assert.equal(decide([member('db1', null, DOWN), member('db2', null)]).kind, 'adopt');
    assert.equal(decide([member('db1', from('db2')), member('db2', null)]).kind, 'adopt');
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
