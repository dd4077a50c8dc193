import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { BackendConnection } from '../../../src/backend/connection.ts';
import { InsertId } from '../../../src/frontend/insert-id.ts';

/** A connection with a LAST_INSERT_ID() of its own. */
class Server {
  readonly asked: string[] = [];
  lastInserter: object | null = null;
  closed = false;
  fails = false;
  value = '0';

  queryValue(sql: string): Promise<string> {
    this.asked.push(sql);
    return this.fails ? Promise.reject(new Error('lost')) : Promise.resolve(this.value);
  }

  execute(sql: string): Promise<void> {
    this.asked.push(sql);
    this.value = /= (\d+)$/.exec(sql)?.[1] ?? 'none';
    return Promise.resolve();
  }

  get connection(): BackendConnection {
    return this as unknown as BackendConnection;
  }
}

/** An insert that makes an id, or is given one and makes none (null). */
function insert(insertId: InsertId, server: Server, made: string | null): Server | null {
  if (made !== null) server.value = made;
  return insertId.inserted(server.connection) as unknown as Server | null;
}

suite('LAST_INSERT_ID()', () => {
  test('of a session that has inserted nothing is 0, which a clean connection says anyway', async () => {
    const [insertId, server] = [new InsertId(), new Server()];
    await insertId.bring(server.connection);
    assert.deepEqual(server.asked, []);
  });

  test('right behind an insert needs no question', async () => {
    const [insertId, server] = [new InsertId(), new Server()];
    insert(insertId, server, '7');
    assert.equal(insertId.isOn(server.connection), true);
    await insertId.bring(server.connection);
    assert.deepEqual(server.asked, []);
  });

  test('is asked for where it is, and set where it is wanted', async () => {
    const [insertId, first, second] = [new InsertId(), new Server(), new Server()];
    insert(insertId, first, '7');
    await insertId.bring(second.connection);
    assert.equal(second.value, '7');
  });

  test('is refused when the connection that had it was given back in a state nobody knows', async () => {
    const [insertId, first, second] = [new InsertId(), new Server(), new Server()];
    insert(insertId, first, '7');
    insertId.discarded(second.connection);
    assert.equal(insertId.isOn(first.connection), true);
    insertId.discarded(first.connection);
    await assert.rejects(insertId.bring(second.connection), { code: 'DBPROXY_STATE_GONE' });
    assert.deepEqual([...first.asked, ...second.asked], []);
  });

  test('does not change by an insert that was given its id, on another connection than the one before', async () => {
    const [insertId, first, second, third] = [new InsertId(), new Server(), new Server(), new Server()];
    insert(insertId, first, '7');
    assert.equal(insert(insertId, second, null), first);
    await insertId.bring(second.connection);
    assert.equal(second.value, '7');
    await insertId.bring(third.connection);
    assert.equal(third.value, '7');
  });

  test('is that of the newer of two inserts on two connections', async () => {
    const [insertId, first, second, third] = [new InsertId(), new Server(), new Server(), new Server()];
    insert(insertId, first, '7');
    insert(insertId, second, '8');
    await insertId.bring(third.connection);
    assert.equal(third.value, '8');
  });

  test('is taken away from a connection that others get', async () => {
    const [insertId, server] = [new InsertId(), new Server()];
    insert(insertId, server, '7');
    await insertId.clean(server.connection);
    assert.equal(server.value, '0');
    assert.equal(server.lastInserter, null);
    await insertId.bring(server.connection);
    assert.equal(server.value, '7');
  });

  test('that is lost with its connection is refused, until there is a new one', async () => {
    const [insertId, lost, other] = [new InsertId(), new Server(), new Server()];
    insert(insertId, lost, '7');
    lost.fails = true;
    await assert.rejects(insertId.clean(lost.connection));
    await assert.rejects(insertId.bring(other.connection), /LAST_INSERT_ID\(\) belongs to/);
    insert(insertId, other, '9');
    const third = new Server();
    await insertId.bring(third.connection);
    assert.equal(third.value, '9');
  });

  test('is 0 again after a reset', async () => {
    const [insertId, first, second] = [new InsertId(), new Server(), new Server()];
    insert(insertId, first, '7');
    insertId.reset();
    await insertId.bring(second.connection);
    assert.deepEqual(second.asked, []);
  });
});
