/**
 * TypeORM on mysql2: the small session that every framework program here runs. Arguments: port, user, password.
 *
 * It says "ready" when its connection is set up and "done" before it closes it, and goes on each time when a
 * line comes in; its last line is what it saw, as JSON.
 */
import { createInterface } from 'node:readline';
import { DataSource, EntitySchema, LessThanOrEqual } from 'typeorm';

const [port, user, password] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function pause(word) {
  console.log(word);
  await lines.next();
}

const Book = new EntitySchema({
  name: 'Book',
  tableName: 'fw_typeorm',
  columns: {
    id: { type: Number, primary: true, generated: true },
    title: { type: String, length: 50, unique: true },
    copies: { type: Number, default: 1 },
  },
});
const db = new DataSource({
  type: 'mysql',
  connectorPackage: 'mysql2',
  host: '127.0.0.1',
  port: Number(port),
  username: user,
  password,
  database: 'demo',
  charset: 'utf8mb4',
  entities: [Book],
  poolSize: 1,
});
await db.initialize();
const out = {};
out.marker = await db.query("SELECT 'set up' AS marker");
await pause('ready');

await db.query('DROP TABLE IF EXISTS fw_typeorm');
await db.synchronize();
const books = db.getRepository(Book);
out.ids = [];
for (const title of ['one', 'zwei', 'äöü😀']) out.ids.push((await books.save({ title })).id);
out.readBack = [];
for (const id of out.ids) out.readBack.push(await books.findOneBy({ id }));
out.updated = (await books.increment({ title: 'one' }, 'copies', 6)).affected;
out.sum = await books.sum('copies');
await db.transaction(async (manager) => {
  const repository = manager.getRepository(Book);
  const locked = await repository.findOne({ where: { title: 'zwei' }, lock: { mode: 'pessimistic_write' } });
  out.locked = locked.id;
  await repository.save({ title: 'kept' });
  out.savepoint = await manager
    .transaction(async (inner) => {
      await inner.getRepository(Book).save({ title: 'back to the savepoint' });
      throw new Error('back');
    })
    .catch((error) => error.message);
  out.seesItsOwn = await repository.count();
});
out.rolledBack = await db
  .transaction('SERIALIZABLE', async (manager) => {
    out.deleted = (await manager.getRepository(Book).delete({ copies: 1 })).affected;
    throw new Error('back');
  })
  .catch((error) => error.message);
out.afterRollback = await books.count();
out.upserted = (await books.upsert({ title: 'one', copies: 9 }, ['title'])).identifiers;
out.error = await books
  .insert({ title: 'one' })
  .catch(({ driverError: { errno, sqlState } }) => [errno, sqlState]);
out.lists = [];
for (let n = 0; n < 10; n++)
  out.lists.push(await books.find({ where: { copies: LessThanOrEqual(n) }, order: { id: 'ASC' } }));
out.epoch = await db.query("SELECT FROM_UNIXTIME(0) AS epoch, COLLATION('a') AS collation");
out.state = await db.query('SELECT @@time_zone, @@sql_mode, @@collation_connection, @@autocommit');
await db.query('DROP TABLE fw_typeorm');
await pause('done');
await db.destroy();
console.log(JSON.stringify(out));
