/**
 * Connections of a pool that sessions share: taken for a statement and given back as they are, kept while nobody
 * else wants them, and lanes. See pool.test.ts for those that a session has for itself.
 */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, suite, test } from 'node:test';
import type { BackendConnection } from '../../../src/backend/connection.ts';
import { Identity } from '../../../src/backend/wish.ts';
import { Lane } from '../../../src/backend/lane.ts';
import { BackendPool, type LaneTerms, type PoolRequest } from '../../../src/backend/pool.ts';
import { Settings } from '../../../src/backend/settings.ts';
import { Slots } from '../../../src/backend/slots.ts';
import { Command } from '../../../src/protocol/constants.ts';
import { writeCommand } from '../../../src/protocol/packets.ts';
import { ReplyTracker } from '../../../src/protocol/reply-tracker.ts';
import { PLAIN_CHANNEL } from '../../support/channels.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { FakeServer } from '../../support/fake-server.ts';

const LIMIT = 2;
const PLAIN = Settings.initial('');
const ZONE = PLAIN.withVariable('time_zone', "'UTC'");
const MODE = PLAIN.withVariable('sql_mode', "''");
const TERMS: LaneTerms = { sharesFirst: false, mostRiders: 2, fastMs: 1 };

let server: FakeServer;
let pool: BackendPool;
let clock: FakeClock;

beforeEach(async () => {
  clock = new FakeClock();
  server = await FakeServer.start({ accounts: { app: { password: 'app' }, other: { password: 'other' } } });
  pool = poolOf(LIMIT);
});

afterEach(async () => {
  pool.close(new Error('the test is over'));
  await server.stop();
});

function poolOf(limit: number): BackendPool {
  let free = limit;
  const slots = new Slots({
    want: (key, count) => {
      const granted = Math.min(count, free);
      free -= granted;
      if (granted > 0) queueMicrotask(() => slots.granted(key, granted));
    },
    giveBack: (_key, count) => {
      free += count;
    },
  });
  return new BackendPool(
    { name: 'db1', address: server.endpoint, maxConnections: limit },
    {
      slots,
      clock,
      idleTimeoutMs: 5000,
      connectTimeoutMs: 2000,
      workers: 1,
      channel: PLAIN_CHANNEL,
      onFailure: () => undefined,
    },
  );
}

interface Wish {
  settings?: Settings;
  user?: string;
  readOnly?: boolean;
}

function request({ settings = PLAIN, user = 'app', readOnly = false }: Wish = {}): PoolRequest & {
  settings: Settings;
} {
  return {
    identity: new Identity({
      user,
      account: user,
      capabilities: 0,
      extendedCapabilities: 0,
      client: { address: '10.0.0.1', port: 4000 },
    }),
    secret: { password: user },
    keepsPassword: true,
    preparation: { database: '', collation: 45, readOnly, attributes: Buffer.alloc(0), settingFlags: 0 },
    timeoutMs: 1000,
    settings,
  };
}

/** A connection lent to a session with these settings, as if that session had set them. */
async function lent(wish: Wish = {}): Promise<BackendConnection> {
  const connection = await pool.acquire(request(wish));
  assert.ok(!(connection instanceof Lane));
  connection.settings = wish.settings ?? PLAIN;
  return connection;
}

async function idle(wish: Wish = {}): Promise<BackendConnection> {
  const connection = await lent(wish);
  pool.giveBack(connection);
  return connection;
}

function take(wish: Wish = {}): BackendConnection | null {
  const wanted = request(wish);
  return pool.take(wanted, wanted.settings);
}

function count(): { used: number; idle: number } {
  const all = pool.counts();
  return {
    used: all.reduce((sum, { used }) => sum + used, 0),
    idle: all.reduce((sum, one) => sum + one.idle, 0),
  };
}

suite('taking a connection', () => {
  test('finds the one with the same settings, however many there are', async () => {
    const [one, two] = [await lent({ settings: ZONE }), await lent({ settings: MODE })];
    pool.giveBack(one);
    pool.giveBack(two);
    assert.equal(take({ settings: ZONE }), one);
    assert.deepEqual(count(), { used: 1, idle: 1 });
  });

  test('else finds one that a SET brings to the settings, else none', async () => {
    const plain = await idle();
    assert.equal(take({ settings: ZONE }), plain);
    plain.settings = ZONE;
    pool.giveBack(plain);
    assert.equal(take(), null, 'no SET takes the zone back');
    assert.equal(take({ settings: MODE }), null);
    assert.equal(take({ settings: ZONE }), plain);
  });

  test('finds none of another account, and none that is READ ONLY where that is not wanted', async () => {
    await idle({ readOnly: true });
    assert.equal(take({ user: 'other' }), null);
    assert.equal(take(), null);
    assert.notEqual(take({ readOnly: true }), null);
  });

  test('passes nobody by who waits', async () => {
    const [one] = [await lent(), await lent()];
    const waiting = pool.acquire(request());
    pool.giveBack(one);
    assert.equal(take(), null);
    assert.equal(await waiting, one);
  });

  test('lends a connection to one session only', async () => {
    await idle();
    assert.notEqual(take(), null);
    assert.equal(take(), null);
  });
});

suite('a session’s own connection', () => {
  test('is lent to it again while nobody else has used it', async () => {
    const [me, other] = [{}, {}];
    const connection = await idle();
    connection.lastUser = me;
    assert.equal(pool.takeOwn(connection, other), false);
    assert.equal(pool.takeOwn(connection, me), true);
    assert.equal(pool.takeOwn(connection, me), false, 'it is lent already');
    pool.giveBack(connection);
    await pool.acquire(request());
    assert.equal(pool.takeOwn(connection, me), false, 'somebody has it');
  });

  test('is nobody’s own any more after dbproxy has asked something on it', async () => {
    const me = {};
    const connection = await lent();
    connection.lastUser = me;
    await connection.execute('DO 1');
    pool.giveBack(connection);
    assert.equal(pool.takeOwn(connection, me), false);
  });
});

suite('giving back', () => {
  test('leaves the connection as it is, and says that it was used', async () => {
    const connection = await idle({ settings: ZONE });
    assert.equal(connection.worn, true);
    assert.equal(connection.settings, ZONE);
    assert.deepEqual(server.connections[0]!.log, []);
  });

  test('twice is an error', async () => {
    const connection = await idle();
    assert.throws(() => pool.giveBack(connection), /released twice/);
  });

  test('closes a connection that must serve nobody else', async () => {
    const connection = await lent();
    connection.spoiled = true;
    pool.giveBack(connection);
    assert.equal(take(), null);
    await server.connections[0]!.closed();
    assert.deepEqual(count(), { used: 0, idle: 0 });
  });

  test('a connection that has ended serves who waits with a new one', async () => {
    const [one] = [await lent(), await lent()];
    const waiting = pool.acquire(request());
    server.connections[0]!.socket.destroy();
    await eventually(() => assert.equal(one.closed, true));
    pool.giveBack(one);
    assert.notEqual(await waiting, one);
    assert.equal(server.connections.length, 3);
  });

  test('serves who waits, whose settings it is then brought to', async () => {
    const [one] = [await lent({ settings: ZONE }), await lent()];
    const waiting = pool.acquire(request({ settings: MODE }));
    pool.giveBack(one);
    assert.equal(await waiting, one);
    assert.equal(
      one.changeTo(request().preparation, MODE).kind,
      'set',
      'it begins anew first: no SET takes the zone back',
    );
  });
});

suite('a session that lingers', () => {
  test('is not counted as using, and is left alone while nobody waits', async () => {
    const connection = await lent();
    let asked = 0;
    pool.linger(connection, () => asked++);
    assert.equal(pool.inUse, 0);
    assert.equal(asked, 0);
    await lent();
    assert.equal(asked, 0, 'there was room for another');
  });

  test('is asked once to give way when somebody waits', async () => {
    const connection = await lent();
    await lent();
    let asked = 0;
    pool.linger(connection, () => {
      asked++;
      pool.giveBack(connection);
    });
    assert.equal(await pool.acquire(request()), connection);
    assert.equal(asked, 1);
  });

  test('is asked at once when somebody waits already', async () => {
    const [one] = [await lent(), await lent()];
    const waiting = pool.acquire(request());
    pool.linger(one, () => pool.giveBack(one));
    assert.equal(await waiting, one);
  });

  test('of the same account is asked before others that have lingered longer', async () => {
    const [other, mine] = [await lent({ user: 'other' }), await lent()];
    const asked: string[] = [];
    pool.linger(other, () => void asked.push('other'));
    pool.linger(mine, () => {
      asked.push('mine');
      pool.giveBack(mine);
    });
    assert.equal(await pool.acquire(request()), mine);
    assert.deepEqual(asked, ['mine']);
  });

  test('and uses its connection again is not asked', async () => {
    const connection = await lent();
    await lent();
    let asked = 0;
    pool.linger(connection, () => asked++);
    pool.stopLingering(connection);
    const waiting = pool.acquire(request());
    assert.equal(asked, 0);
    pool.giveBack(connection);
    assert.equal(await waiting, connection);
  });

  test('and has given its connection back is not asked about it', async () => {
    const connection = await lent();
    let asked = 0;
    pool.linger(connection, () => asked++);
    pool.giveBack(connection);
    await lent();
    await lent();
    void pool.acquire(request()).catch(() => undefined);
    assert.equal(asked, 0);
  });
});

suite('lanes', () => {
  function board(terms: Partial<LaneTerms> = {}, wish: Wish = {}): Lane | null {
    const wanted = request(wish);
    return pool.board(wanted, wanted.settings, { ...TERMS, ...terms });
  }

  test('begin on an idle connection with the right settings, and on no other', async () => {
    const connection = await idle({ settings: ZONE });
    assert.equal(board(), null);
    assert.equal(board({}, { settings: ZONE })?.connection, connection);
    assert.deepEqual(count(), { used: 1, idle: 0 });
  });

  test('are joined only when no more connections are allowed', async () => {
    await idle();
    const lane = board();
    assert.equal(board(), null, 'there is room for a connection of its own');
    await lent({ settings: ZONE });
    assert.equal(board(), lane);
    assert.equal(lane!.depth, 2);
    assert.equal(board(), null, 'as many as may ride');
  });

  test('are joined first where that is wanted', async () => {
    const [one, two] = [await lent(), await lent()];
    pool.giveBack(one);
    const lane = board({ sharesFirst: true });
    pool.giveBack(two);
    assert.equal(board({ sharesFirst: true }), lane);
    assert.notEqual(board({ sharesFirst: true }), lane, 'full: the next one begins');
  });

  test('give their connection back when the last place is given up, once', async () => {
    const connection = await idle();
    const lane = board({ sharesFirst: true })!;
    assert.equal(board({ sharesFirst: true }), lane);
    lane.cancel();
    assert.deepEqual(count(), { used: 1, idle: 0 });
    lane.cancel();
    assert.deepEqual(count(), { used: 0, idle: 1 });
    assert.equal(board()?.connection, connection, 'and begin anew');
  });

  test('are not joined by another account, nor with other settings', async () => {
    await idle();
    assert.notEqual(board({ sharesFirst: true }), null);
    assert.equal(board({ sharesFirst: true }, { settings: ZONE }), null);
    assert.equal(board({ sharesFirst: true }, { user: 'other' }), null);
    assert.equal(board({ sharesFirst: true }, { readOnly: true }), null);
  });

  test('pass nobody by who waits for a connection of his own', async () => {
    const [one] = [await lent(), await lent()];
    const waiting = pool.acquire(request({ settings: ZONE }));
    assert.equal(board(), null);
    pool.giveBack(one);
    assert.equal(await waiting, one);
  });

  test('are a place for who waits, when one comes free', async () => {
    const [one] = [await lent(), await lent()];
    const waiting = pool.acquire({ ...request(), lane: TERMS });
    pool.giveBack(one);
    const place = await waiting;
    assert.ok(place instanceof Lane);
    assert.equal(place.connection, one);
    place.cancel();
    assert.deepEqual(count(), { used: 1, idle: 1 });
  });

  test('pass nobody by who waits for a place, and have one for him as soon as an answer has ended', async () => {
    const [one] = [await lent(), await lent()];
    pool.giveBack(one);
    const terms = { ...TERMS, sharesFirst: true };
    const [lane, second] = [board(terms)!, board(terms)];
    assert.equal(second, lane);
    const waiting = pool.acquire({ ...request(), lane: terms });
    const tracker = new ReplyTracker(0, 0);
    tracker.begin(Command.QUERY);
    const command = writeCommand(Command.QUERY, Buffer.from('select 1'));
    const rider = { tracker, onLaneBytes: () => true, onLaneLost: () => assert.fail('lost') };
    lane.ride(rider, command, 0, command.length);
    assert.equal(board(terms), null, 'somebody was there before');
    assert.equal(await waiting, lane);
    lane.cancel();
    lane.cancel();
  });

  test('whose connection ends while a place is kept are over with that place', async () => {
    await idle();
    const lane = board()!;
    server.connections[0]!.socket.destroy();
    await eventually(() => assert.equal(lane.connection.closed, true));
    lane.cancel();
    assert.deepEqual(count(), { used: 0, idle: 0 });
    assert.equal(board(), null);
  });
});
