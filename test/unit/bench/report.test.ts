import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { FailoverSample } from '../../../bench/failover.ts';
import type { LagSample } from '../../../bench/lag.ts';
import {
  formatReport,
  median,
  reportAsJson,
  summarise,
  verdicts,
  type LoadResult,
  type LoadRound,
  type Report,
} from '../../../bench/report.ts';

suite('a median', () => {
  test('is the middle value, whatever the order', () => assert.equal(median([9, 1, 5]), 5));
  test('lies between the two in the middle', () => assert.equal(median([4, 1, 100, 2]), 3));
  test('sorts by value, not by spelling', () => assert.equal(median([10, 9, 100]), 10));
  test('of nothing is refused', () => assert.throws(() => median([]), RangeError));
});

suite('the summary of a load', () => {
  test('takes ratios within a round: a machine that slows down for all changes none', () => {
    const slowing = load([round(1000, 900, 20, 22), round(100, 90, 20, 22), round(10, 9, 20, 22)]);
    const summary = summarise(slowing, 'dbproxy');
    assert.deepEqual(summary.rateRatio, { median: 0.9, least: 0.9, most: 0.9 });
    assert.equal(summary.cpuRatio?.median, 1.1);
    assert.equal(summary.queriesPerSecond, 90);
  });

  test('is not moved by one bad round', () => {
    const disturbed = load([round(100, 95, 20, 22), round(100, 3, 20, 90), round(100, 95, 20, 22)]);
    assert.equal(summarise(disturbed, 'dbproxy').rateRatio.median, 0.95);
    assert.equal(summarise(disturbed, 'dbproxy').cpuMicrosPerQuery, 22);
  });

  test('tells how far the rounds lie apart', () => {
    const { rateRatio } = summarise(load([round(100, 80, 1, 1), round(100, 130, 1, 1)]), 'dbproxy');
    assert.equal(rateRatio.least, 0.8);
    assert.equal(rateRatio.most, 1.3);
  });

  test('has no CPU time where there is no proxy', () => {
    const { cpuMicrosPerQuery, cpuRatio } = summarise(load([round(100, 95, 20, 22)]), 'direct');
    assert.deepEqual({ cpuMicrosPerQuery, cpuRatio }, { cpuMicrosPerQuery: null, cpuRatio: null });
  });

  test('adds up the errors of all rounds', () => {
    const rounds = [round(100, 95, 20, 22), round(100, 95, 20, 22)];
    for (const measured of rounds) measured.dbproxy.errors = 3;
    assert.equal(summarise(load(rounds), 'dbproxy').errors, 6);
  });
});

suite('the failovers', () => {
  const sample = (gapMs: number, failed: number): FailoverSample => ({
    name: 'failover-kill-1',
    flavour: 'mariadb',
    gapMs,
    failed,
    problem: null,
  });

  test('are told by their median, the least and the most', () => {
    const report = { ...reportOf([]), failover: [sample(500, 0), sample(900, 2), sample(600, 1)] };
    assert.match(
      formatReport(report),
      /kill -9 of the primary, 1 client +3 +600 \(500 to 900\) +1 \(0 to 2\)/,
    );
  });

  test('have a goal for the median', () => {
    const reached = (gapMs: number): boolean[] =>
      verdicts({ ...reportOf([]), failover: [sample(gapMs, 0)] }).map((verdict) => verdict.reached);
    assert.deepEqual([reached(799), reached(800)], [[true], [false]]);
  });
});

suite('the reads of a replica that lags', () => {
  const sample = (split: number): LagSample => ({
    name: 'lag-heartbeat',
    flavour: 'mariadb',
    lateness: { 'read, new sessions': 0.5, split },
  });
  const report = (...samples: LagSample[]): Report => ({ ...reportOf([]), lag: samples });

  test('are told by the median, the least and the most of each reader', () => {
    const text = formatReport(report(sample(0.5), sample(1.5), sample(1.25)));
    assert.match(text, /lag by heartbeat; split +3 +1.25 \(0.50 to 1.50\)/);
  });

  test('have a goal for the most', () => {
    const split = (...late: number[]): boolean => verdicts(report(...late.map(sample))).at(-1)!.reached;
    assert.deepEqual([split(0, 2), split(0, 0, 2.1)], [true, false]);
  });
});

suite('the verdicts', () => {
  const outcome = (report: Report): boolean[] => verdicts(report).map(({ reached }) => reached);

  test('are reached at the bound itself', () => {
    const report = reportOf([load([round(100, 90, 10, 13)])]);
    assert.deepEqual(outcome(report), [true, true]);
  });

  test('are missed just beyond it', () => {
    const report = reportOf([load([round(1000, 899, 100, 131)])]);
    assert.deepEqual(outcome(report), [false, false]);
  });

  test('are not given for what was not measured', () => {
    assert.deepEqual(verdicts(reportOf([])), []);
    assert.deepEqual(verdicts(reportOf([{ ...load([round(1, 1, 1, 1)]), name: 'another' }])), []);
  });

  test('take the worse of the two readers of a large result', () => {
    const rounds = [
      {
        direct: { megabytesPerSecond: 900 },
        haproxy: { megabytesPerSecond: 800 },
        dbproxy: { megabytesPerSecond: 700 },
      },
    ];
    const stream = (fastReader: number, pausingReader: number): Report => ({
      ...reportOf([]),
      stream: { megabytes: 500, rounds, growthMegabytes: { fastReader, pausingReader } },
    });
    assert.deepEqual(outcome(stream(1, 63.9)), [true]);
    assert.deepEqual(outcome(stream(1, 64)), [false]);
    assert.deepEqual(outcome(stream(64, 1)), [false]);
  });
});

suite('the report', () => {
  test('shows a load as three lines, with a dash where there is no number', () => {
    const text = formatReport(reportOf([load([round(1000, 950, 20, 24)])]));
    const lines = text.split('\n').map((line) => line.trim().split(/ {2,}/));
    const ofTarget = (target: string): string[] | undefined => lines.find((cells) => cells.includes(target));
    assert.deepEqual(ofTarget('direct'), ['a load', 'direct', '2000', '1.00', '-', '2.00', '-']);
    assert.deepEqual(ofTarget('haproxy'), ['haproxy', '1000', '1.00', '20.0', '1.00', '1.00']);
    assert.deepEqual(ofTarget('dbproxy'), ['dbproxy', '950', '1.00', '24.0', '0.95', '1.20']);
  });

  test('shows the spread of a ratio over several rounds', () => {
    const text = formatReport(reportOf([load([round(100, 80, 10, 10), round(100, 130, 10, 10)])]));
    assert.match(text, /dbproxy .* 1\.05 \(0\.80 to 1\.30\)/);
  });

  test('says what has failed', () => {
    const text = formatReport({ ...reportOf([]), failures: ['a load, round 1: no connection'] });
    assert.match(text, /FAILED\na load, round 1: no connection/);
  });

  test('as JSON keeps every round and adds summary and goals', () => {
    const json = JSON.parse(reportAsJson(reportOf([load([round(100, 80, 10, 12)])]))) as {
      loads: { rounds: unknown[]; summary: Record<string, { rateRatio: { median: number } }> }[];
      goals: { reached: boolean }[];
    };
    assert.equal(json.loads[0]!.rounds.length, 1);
    assert.equal(json.loads[0]!.summary['dbproxy']!.rateRatio.median, 0.8);
    assert.deepEqual(
      json.goals.map(({ reached }) => reached),
      [false, true],
    );
  });
});

/** A round: queries a second and CPU a query of the two proxies; direct is twice as fast as HAProxy. */
function round(haproxyRate: number, dbproxyRate: number, haproxyCpu: number, dbproxyCpu: number): LoadRound {
  const sample = (queriesPerSecond: number, cpuMicrosPerQuery: number | null): LoadRound['direct'] => {
    return { queriesPerSecond, p99Ms: 1, cpuMicrosPerQuery, errors: 0 };
  };
  return {
    direct: sample(haproxyRate * 2, null),
    haproxy: sample(haproxyRate, haproxyCpu),
    dbproxy: sample(dbproxyRate, dbproxyCpu),
  };
}

/** The one load that has both a goal for its rate and one for its CPU. */
function load(rounds: LoadRound[]): LoadResult {
  return { name: 'point-select-write-32', title: 'a load', rounds };
}

function reportOf(loads: LoadResult[]): Report {
  const conditions = {
    date: '2026-11-21T00:00:00Z',
    machine: '2 cores',
    versions: 'some',
    mode: 'full',
  } as const;
  return { conditions, loads, stream: null, micro: [], failover: [], lag: [], failures: [] };
}
