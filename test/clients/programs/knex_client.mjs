/**
 * Knex on mysql2: the small session that every framework program here runs. Arguments: port, user, password.
 *
 * It says "ready" when its connection is set up and "done" before it closes it, and goes on each time when a
 * line comes in; its last line is what it saw, as JSON.
 */
import { createInterface } from 'node:readline';
import knex from 'knex';

const [port, user, password] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function pause(word) {
  console.log(word);
  await lines.next();
}

const db = knex({
  client: 'mysql2',
  connection: { host: '127.0.0.1', port: Number(port), user, password, database: 'demo', charset: 'utf8mb4' },
  pool: {
    min: 1,
    max: 1,
    afterCreate: (connection, done) => connection.query("SET time_zone = '+02:00'", done),
  },
});
const books = () => db('fw_knex');
const out = {};
out.marker = (await db.raw("SELECT 'set up' AS marker"))[0];
await pause('ready');

await db.schema.dropTableIfExists('fw_knex');
await db.schema.createTable('fw_knex', (table) => {
  table.increments('id');
  table.string('title', 50).unique();
  table.integer('copies').defaultTo(1);
});
out.hasTable = await db.schema.hasTable('fw_knex');
out.ids = [];
for (const title of ['one', 'zwei', 'äöü😀']) out.ids.push(...(await books().insert({ title })));
out.readBack = [];
for (const id of out.ids) out.readBack.push(await books().where({ id }).first('title', 'copies'));
out.updated = await books().where({ title: 'one' }).increment('copies', 6);
await db.transaction(async (transaction) => {
  out.locked = await transaction('fw_knex').where({ title: 'zwei' }).forUpdate().first('id');
  await transaction('fw_knex').insert({ title: 'kept' });
  await transaction
    .transaction(async (inner) => {
      await inner('fw_knex').insert({ title: 'back to the savepoint' });
      throw new Error('back');
    })
    .catch((error) => (out.savepoint = error.message));
  out.seesItsOwn = await transaction('fw_knex').count({ n: '*' });
});
await db
  .transaction(
    async (transaction) => {
      out.deleted = await transaction('fw_knex').delete();
      throw new Error('back');
    },
    { isolationLevel: 'read committed' },
  )
  .catch((error) => (out.rolledBack = error.message));
out.afterRollback = await books().count({ n: '*' });
await db.transaction(
  async (transaction) => {
    out.readOnly = await transaction('fw_knex').max({ id: 'id' });
    out.refused = await transaction('fw_knex')
      .insert({ title: 'refused' })
      .catch(({ errno }) => errno);
  },
  { readOnly: true },
);
out.error = await books()
  .insert({ title: 'one' })
  .catch(({ errno, sqlState, sqlMessage }) => ({ errno, sqlState, sqlMessage }));
out.lists = [];
for (let n = 0; n < 10; n++)
  out.lists.push(await books().where('copies', '<=', n).orderBy('id').select('id', 'title'));
out.epoch = (await db.raw("SELECT FROM_UNIXTIME(0) AS epoch, COLLATION('a') AS collation"))[0];
out.state = (await db.raw('SELECT @@time_zone, @@sql_mode, @@collation_connection, @@autocommit'))[0];
await db.schema.dropTable('fw_knex');
await pause('done');
await db.destroy();
console.log(JSON.stringify(out));
