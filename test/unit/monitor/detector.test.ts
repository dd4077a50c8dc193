import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  FIRST_RECORD,
  isSeenWell,
  isWorrying,
  judgeCheck,
  judgeReplication,
  judgeWrite,
  toBackendHealth,
  type HealthRecord,
  type PrimarySight,
} from '../../../src/monitor/detector.ts';
import { NO_BEATS, withBeat, type Beats } from '../../../src/monitor/beats.ts';
import type {
  Observation,
  ProbeErrorKind,
  ReplicationFacts,
  ServerFacts,
} from '../../../src/monitor/observation.ts';
import { replicationFacts, serverFacts } from '../../support/facts.ts';

const LIMITS = {
  rise: 2,
  fall: 3,
  maxLagMs: 10_000,
  readmitLagMs: 5_000,
  checkIntervalMs: 1_000,
  checkTimeoutMs: 1_000,
  heartbeatIntervalMs: 250,
};
const UP: PrimarySight = { isUp: true, seenMs: 0, beats: null };
const DOWN: PrimarySight = { isUp: false, seenMs: 0, beats: null };

function facts(replication: Partial<ReplicationFacts> | null = {}): ServerFacts {
  return serverFacts({
    serverId: 2,
    readOnly: true,
    sqlMode: 'ANSI_QUOTES',
    replication: replication === null ? null : replicationFacts(replication),
  });
}

const good = (replication?: Partial<ReplicationFacts> | null): Observation => ({
  kind: 'seen',
  facts: facts(replication),
});
const bad = (kind: ProbeErrorKind = 'refused'): Observation => ({
  kind: 'failed',
  failure: { kind, message: 'as the system says it' },
});

/** The record after checks, one after the other. */
function after(...checks: Observation[]): HealthRecord {
  return checks.reduce((record, check) => judgeCheck(record, check, LIMITS, 0), FIRST_RECORD);
}

suite('an account that is refused', () => {
  const refused: Observation = { kind: 'seen', facts: facts(), accountTrouble: 'Access denied' };

  test('is noted by a check that was answered, and changes nothing else', () => {
    assert.deepEqual(after(good(), refused), { ...after(good(), good()), accountTrouble: 'Access denied' });
    assert.equal(after(refused, good()).accountTrouble, null);
  });

  test('is noted by a check that was refused itself, and stays until one is not', () => {
    const record = after(good(), bad('access_denied'));
    assert.equal(record.accountTrouble, 'as the system says it');
    assert.equal(record.reach, 'up');
    assert.equal(after(refused, bad('timed_out')).accountTrouble, 'Access denied');
    assert.equal(after(good(), bad('too_many_connections')).accountTrouble, null);
  });
});

suite('reach', () => {
  test('the first check decides alone, either way', () => {
    assert.equal(after(good()).reach, 'up');
    assert.equal(after(bad()).reach, 'down');
  });

  test('it takes `fall` failed checks in a row to go down, and it is suspect on the way', () => {
    assert.equal(after(good(), bad()).reach, 'suspect');
    assert.equal(after(good(), bad(), bad()).reach, 'suspect');
    assert.equal(after(good(), bad(), bad(), bad()).reach, 'down');
  });

  test('a good check between failed ones starts the count anew', () => {
    assert.equal(after(good(), bad(), bad(), good(), bad(), bad()).reach, 'suspect');
  });

  test('it takes `rise` good checks in a row to come back', () => {
    const down = [good(), bad(), bad(), bad()];
    assert.equal(after(...down, good()).reach, 'down');
    assert.match(after(...down, good()).reachReason, /answers again, check 1 of 2/);
    assert.equal(after(...down, good(), bad(), good()).reach, 'down');
    assert.equal(after(...down, good(), good()).reach, 'up');
    assert.equal(after(...down, good(), good()).reachReason, '');
  });

  test('the reason tells the kinds of failure apart', () => {
    const reasons = (
      [
        'refused',
        'timed_out',
        'host_unreachable',
        'access_denied',
        'too_many_connections',
        'protocol',
        'other',
      ] as const
    ).map((kind) => after(good(), bad(kind)).reachReason);
    assert.equal(new Set(reasons).size, reasons.length);
    for (const reason of reasons) assert.match(reason, /as the system says it/);
  });

  for (const kind of ['access_denied', 'too_many_connections'] as const) {
    test(`${kind} leaves a server as it was, however often, and says that it is alive`, () => {
      const record = after(good(), bad(kind), bad(kind), bad(kind), bad(kind));
      assert.equal(record.reach, 'up');
      assert.match(record.reachReason, /alive/);
      assert.notEqual(record.facts, null);
    });

    test(`${kind} on a server never seen makes it suspect, not up`, () => {
      assert.equal(after(bad(kind)).reach, 'suspect');
    });

    test(`${kind} does not bring back a server that is down`, () => {
      assert.equal(after(good(), bad(), bad(), bad(), bad(kind), bad(kind)).reach, 'down');
    });
  }
});

suite('replication', () => {
  /** The record of a replica that was in sync at time 0, then observed as given at `nowMs`. */
  function replica(
    replication: Partial<ReplicationFacts>,
    { primaryIsUp = true, nowMs = 1_000 } = {},
  ): HealthRecord {
    const inSync = judgeReplication(after(good()), UP, LIMITS, 0);
    return judgeReplication(
      judgeCheck(inSync, good(replication), LIMITS, nowMs),
      primaryIsUp ? UP : DOWN,
      LIMITS,
      nowMs,
    );
  }

  test('in sync it is fresh and needs no words', () => {
    const record = replica({});
    assert.equal(record.fresh, true);
    assert.equal(record.replicationReason, '');
    assert.equal(record.lagMs, 0);
  });

  test('a server that does not replicate is not fresh', () => {
    assert.equal(judgeReplication(after(good(null)), UP, LIMITS, 0).fresh, false);
  });

  test('a stopped applier takes it out at once, with the error', () => {
    const record = replica({ applier: 'stopped', lagMs: null, applierError: 'Duplicate entry' });
    assert.equal(record.fresh, false);
    assert.match(record.replicationReason, /applier does not run: Duplicate entry/);
  });

  test('a stopped applier takes it out although the primary is down', () => {
    assert.equal(replica({ applier: 'stopped', lagMs: null }, { primaryIsUp: false }).fresh, false);
  });

  test('a stopped receiver takes it out while the primary is up', () => {
    const record = replica({ receiver: 'stopped', lagMs: null });
    assert.equal(record.fresh, false);
    assert.match(record.replicationReason, /receiver does not run although the primary is up/);
  });

  for (const receiver of ['stopped', 'connecting'] as const) {
    test(`a ${receiver} receiver because the primary is down lets it go on, for hours`, () => {
      const record = replica({ receiver, lagMs: null }, { primaryIsUp: false, nowMs: 10_000_000 });
      assert.equal(record.fresh, true);
      assert.match(record.replicationReason, /orphan/);
    });
  }

  test('an orphan that has not applied all it received counts lag from the last good moment', () => {
    const orphan = { receiver: 'connecting', lagMs: null, drained: false } as const;
    assert.equal(replica(orphan, { primaryIsUp: false, nowMs: 9_000 }).fresh, true);
    assert.equal(replica(orphan, { primaryIsUp: false, nowMs: 11_000 }).fresh, false);
  });

  test('while the receiver reconnects to a primary that is up, lag counts from the last good moment', () => {
    const reconnecting = { receiver: 'connecting', lagMs: null } as const;
    const early = replica(reconnecting, { nowMs: 4_000 });
    assert.equal(early.fresh, true);
    assert.equal(early.lagMs, 4_000);
    assert.match(early.replicationReason, /reconnecting/);
    const late = replica(reconnecting, { nowMs: 10_001 });
    assert.equal(late.fresh, false);
    assert.match(late.replicationReason, /lags more than max_lag = 10000 ms/);
  });

  test('lag above max_lag takes it out, and only readmit_lag or less brings it back', () => {
    let record = judgeReplication(after(good()), UP, LIMITS, 0);
    const seen: boolean[] = [];
    for (const lagMs of [10_000, 11_000, 10_000, 6_000, 5_000, 9_000]) {
      record = judgeReplication(judgeCheck(record, good({ lagMs }), LIMITS, 1), UP, LIMITS, 1);
      seen.push(record.fresh);
    }
    assert.deepEqual(seen, [true, false, false, false, true, true]);
  });

  test('a lag that was never known keeps it out', () => {
    const record = judgeReplication(after(good({ lagMs: null, receiver: 'connecting' })), UP, LIMITS, 1_000);
    assert.equal(record.fresh, false);
    assert.match(record.replicationReason, /lag is not known/);
  });

  test('what was judged stays while the server is suspect, and grows old', () => {
    const inSync = judgeReplication(after(good({ lagMs: 9_000 })), UP, LIMITS, 0);
    const suspect = (nowMs: number): HealthRecord =>
      judgeReplication(judgeCheck(inSync, bad(), LIMITS, nowMs), UP, LIMITS, nowMs);
    assert.equal(suspect(900).fresh, true);
    assert.equal(suspect(1_100).fresh, false);
  });

  test('the reason does not change with the lag itself, so that nothing is published for it', () => {
    const reasons = [20_000, 30_000].map((lagMs) => replica({ lagMs }).replicationReason);
    assert.equal(reasons[0], reasons[1]);
    assert.notEqual(reasons[0], '');
  });
});

suite('what is not seen any more grows old', () => {
  const judge = (
    record: HealthRecord,
    check: Observation,
    sight: PrimarySight,
    nowMs: number,
  ): HealthRecord => judgeReplication(judgeCheck(record, check, LIMITS, nowMs), sight, LIMITS, nowMs);
  const inSync = judge(FIRST_RECORD, good(), UP, 0);

  for (const receiver of ['stopped', 'connecting'] as const) {
    test(`a receiver ${receiver} for an hour is no orphan at the first failed check of the primary`, () => {
      const hourMs = 3_600_000;
      const stale = judge(
        inSync,
        good({ receiver, lagMs: null }),
        { isUp: true, seenMs: hourMs, beats: null },
        hourMs,
      );
      const orphan = judge(
        stale,
        good({ receiver, lagMs: null }),
        { isUp: false, seenMs: hourMs, beats: null },
        hourMs + 100,
      );
      assert.equal(orphan.fresh, false);
      assert.equal(orphan.lagMs, hourMs + 100);
      assert.equal(orphan.lastInSync?.atMs, 0);
    });
  }

  test('an orphan seen in sync one interval before its primary was last seen is in sync', () => {
    const lost = good({ receiver: 'connecting', lagMs: null });
    assert.equal(judge(inSync, lost, { isUp: false, seenMs: 2_000, beats: null }, 2_500).lagMs, 0);
    assert.equal(judge(inSync, lost, { isUp: false, seenMs: 2_001, beats: null }, 2_500).lagMs, 2_500);
  });

  test('an orphan whose primary was never seen is not held to it', () => {
    const lost = good({ receiver: 'connecting', lagMs: null });
    assert.equal(judge(FIRST_RECORD, lost, { isUp: false, seenMs: null, beats: null }, 0).fresh, true);
  });

  test('a replica that denies us access for long is taken out, although it was in sync', () => {
    const denied = judge(inSync, bad('access_denied'), UP, 9_000);
    assert.deepEqual([denied.fresh, denied.lagMs], [true, 9_000]);
    const later = judge(denied, bad('access_denied'), UP, 10_001);
    assert.deepEqual([later.fresh, later.lastInSync?.atMs], [false, 0]);
  });

  test('to judge anew does not make what was seen newer', () => {
    assert.equal(judgeReplication(inSync, UP, LIMITS, 5_000).lastInSync?.atMs, 0);
  });
});

suite('worry', () => {
  test('suspect, down, lagging, not seen and half-stopped servers are watched closely', () => {
    const judged = (check: Observation): HealthRecord => judgeReplication(after(check), UP, LIMITS, 0);
    assert.equal(isWorrying(FIRST_RECORD), true);
    assert.equal(isWorrying(after(good(), bad())), true);
    assert.equal(isWorrying(after(bad())), true);
    assert.equal(isWorrying(judged(good({ lagMs: 11_000 }))), true);
    assert.equal(isWorrying(judged(good({ receiver: 'connecting' }))), true);
    assert.equal(isWorrying(judged(good({ applier: 'stopped' }))), true);
    assert.equal(isWorrying(judged(good())), false);
    assert.equal(isWorrying(judged(good(null))), false);
  });
});

test('a server that was never seen is neither writable nor replicating to the topology', () => {
  const health = toBackendHealth(after(bad()));
  assert.deepEqual(
    { writable: health.writable, replicating: health.replicating, version: health.serverVersion },
    { writable: false, replicating: false, version: null },
  );
});

suite('how far a server has come', () => {
  const position = (change: Partial<ServerFacts>, replication?: null): string | null =>
    toBackendHealth(after({ kind: 'seen', facts: { ...facts(replication), ...change } })).gtidPosition;

  test('is what a replica has applied, where that is kept apart from what it has logged', () => {
    assert.equal(position({ position: '0-1-9,0-2-4', replicatedPosition: '0-1-9' }), '0-1-9');
    assert.equal(position({ position: 'uuid:1-9', replicatedPosition: '' }), 'uuid:1-9');
  });

  test('is what a primary has logged, although it followed another one before', () => {
    assert.equal(position({ position: '0-2-12', replicatedPosition: '0-1-9' }, null), '0-2-12');
  });

  test('is not known without global ids, before the first change, and of a server never seen', () => {
    assert.equal(position({ position: 'uuid:1-9', hasGtid: false }), null);
    assert.equal(position({ position: '', replicatedPosition: '' }), null);
    assert.equal(toBackendHealth(after(bad())).gtidPosition, null);
  });
});

test('the sql_mode of a server is known once it was seen', () => {
  assert.equal(toBackendHealth(after(good())).sqlMode, 'ANSI_QUOTES');
  assert.equal(toBackendHealth(after(bad())).sqlMode, null);
});

suite('a check that we ourselves could not make', () => {
  test('is neither a good one nor a failed one, and says so', () => {
    const record = after(good(), bad(), bad('checker_broken'), bad('checker_broken'), bad('checker_broken'));
    assert.equal(record.reach, 'suspect');
    assert.equal(record.failed, 1);
    assert.match(record.checkerBroken ?? '', /dbproxy itself cannot check it/);
    assert.equal(isSeenWell(record), false);
  });

  test('is forgotten with the next one that could be made', () => {
    assert.equal(after(bad('checker_broken'), good()).checkerBroken, null);
    assert.equal(after(bad('checker_broken'), bad()).checkerBroken, null);
    assert.equal(after(bad('checker_broken'), bad('access_denied')).checkerBroken, null);
  });
});

suite('when a server has started at the latest', () => {
  const startedMs = (uptimeSeconds: number, metMs?: number): number | null =>
    judgeCheck(
      FIRST_RECORD,
      { kind: 'seen', facts: serverFacts({ uptimeSeconds }), ...(metMs !== undefined && { metMs }) },
      LIMITS,
      20_000,
    ).startedMs;

  test('is told by its uptime, which may be one too many', () => assert.equal(startedMs(5), 16_000));
  test('is not later than our connection to it was made', () => {
    assert.equal(startedMs(1, 19_700), 19_700);
    assert.equal(startedMs(0), 20_000);
    assert.equal(startedMs(500, 19_700), 20_000 - 499_000);
  });
});

suite('a restart between two checks', () => {
  const seenAt = (record: HealthRecord, nowMs: number, over: Partial<ServerFacts>): HealthRecord =>
    judgeCheck(record, { kind: 'seen', facts: serverFacts(over) }, LIMITS, nowMs);
  const first = seenAt(FIRST_RECORD, 0, { connectionId: 90, uptimeSeconds: 500 });
  const table: [string, number, Partial<ServerFacts>, number][] = [
    [
      'the same connection is no restart, whatever its clock says',
      1_000,
      { connectionId: 90, uptimeSeconds: 3 },
      0,
    ],
    ['another connection alone is none', 1_000, { connectionId: 91, uptimeSeconds: 501 }, 0],
    ['rounding is none', 1_999, { connectionId: 91, uptimeSeconds: 500 }, 0],
    ['an uptime that went back is one', 1_000, { connectionId: 7, uptimeSeconds: 0 }, 1],
    [
      'also when it was out of sight for longer than it runs now',
      900_000,
      { connectionId: 7, uptimeSeconds: 800 },
      1,
    ],
    ['out of sight without one', 900_000, { connectionId: 200, uptimeSeconds: 1_400 }, 0],
  ];
  for (const [what, nowMs, facts, restarts] of table) {
    test(what, () => {
      const record = seenAt(first, nowMs, facts);
      assert.equal(record.restarts, restarts);
      assert.equal(record.restartedMs, restarts === 0 ? null : nowMs);
    });
  }
});

suite('lag by beats', () => {
  const beats = (...writtenMs: number[]): Beats =>
    writtenMs.reduce((all, at) => withBeat(all, { atMs: 1e12 + at, writtenMs: at }), NO_BEATS);
  const sight = (written: Beats, problem = ''): PrimarySight => ({
    isUp: true,
    seenMs: 0,
    beats: { written, problem },
  });
  const judged = (
    shownMs: number | null,
    primary: PrimarySight,
    replication: Partial<ReplicationFacts> = {},
  ): HealthRecord => {
    const facts = serverFacts({
      beat: { atMs: shownMs === null ? null : 1e12 + shownMs },
      replication: replicationFacts(replication),
    });
    const record = judgeCheck(FIRST_RECORD, { kind: 'seen', facts }, LIMITS, 20_000, 20_000);
    return judgeReplication(record, primary, LIMITS, 20_000);
  };

  test('counts, whatever the server says', () => {
    const written = beats(1_000, 19_000, 19_900);
    assert.equal(judged(19_900, sight(written), { lagMs: 99_000 }).lagMs, 0);
    assert.equal(judged(1_000, sight(written), { lagMs: 0 }).lagMs, 1_000);
    assert.equal(judged(null, sight(written), { lagMs: 0 }).lagMs, 19_000);
    assert.equal(judged(null, sight(written), { lagMs: 0 }).fresh, false);
  });

  test('is what the server says while nothing is written', () => {
    const old = beats(1_000, 17_000);
    assert.equal(judged(1_000, sight(old), { lagMs: 3_000 }).lagMs, 3_000);
    assert.equal(judged(1_000, sight(NO_BEATS), { lagMs: 3_000 }).lagMs, 3_000);
  });

  test('the reason says why nothing is written', () => {
    const record = judged(1_000, sight(NO_BEATS, 'the table is not there'));
    assert.match(record.replicationReason, /what the server says, as no heartbeat is written: the table/);
    assert.equal(record.fresh, true);
  });

  test('is what the server says where we may not read the row', () => {
    const facts = serverFacts({ replication: replicationFacts({ lagMs: 2_000 }) });
    const record = judgeCheck(FIRST_RECORD, { kind: 'seen', facts }, LIMITS, 20_000, 20_000);
    const primary = sight(beats(1_000, 19_900));
    assert.equal(judgeReplication(record, primary, LIMITS, 20_000).lagMs, 2_000);
  });
});

suite('writes that fail', () => {
  const failing = { kind: 'failing', reason: 'a write hangs' } as const;

  test('are counted from the first one on, until one is taken', () => {
    const once = judgeWrite(after(good(null)), failing, 100);
    const twice = judgeWrite(once, { ...failing, reason: 'the disk is full' }, 400);
    assert.deepEqual(twice.writeFailing, {
      sinceMs: 100,
      count: 2,
      reason: 'the disk is full',
      isLocked: false,
    });
    assert.equal(judgeWrite(twice, { kind: 'written' }, 700).writeFailing, null);
  });

  test('and that wait for a lock are counted apart', () => {
    const locked = { kind: 'locked', reason: 'Waiting for backup lock' } as const;
    const once = judgeWrite(judgeWrite(after(good(null)), failing, 100), locked, 400);
    assert.deepEqual(once.writeFailing, { sinceMs: 400, count: 1, reason: locked.reason, isLocked: true });
    assert.deepEqual(judgeWrite(once, locked, 700).writeFailing?.count, 2);
    assert.deepEqual(judgeWrite(once, failing, 700).writeFailing?.count, 1);
  });

  test('say nothing when they did not get there, or may not be made', () => {
    const record = judgeWrite(after(good(null)), failing, 100);
    assert.equal(judgeWrite(record, { kind: 'unreachable', reason: 'x' }, 200).writeFailing?.count, 1);
    assert.equal(judgeWrite(record, { kind: 'hopeless', reason: 'x' }, 200).writeFailing, null);
  });

  test('are no finding of their own when the server is down', () => {
    const record = judgeWrite(after(good(null)), failing, 100);
    const down = [1, 2, 3].reduce((now) => judgeCheck(now, bad(), LIMITS, 0), record);
    assert.equal(down.writeFailing, null);
  });
});
