/**
 * Sequelize on mysql2 and on mariadb: the small session that every framework program here runs. Arguments: port,
 * user, password.
 *
 * It says "ready" when its connections are set up and "done" before it closes them, and goes on each time when a
 * line comes in; its last line is what it saw, as JSON.
 */
import { createInterface } from 'node:readline';
import { DataTypes, Op, QueryTypes, Sequelize, Transaction, UniqueConstraintError } from 'sequelize';

const [port, user, password] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function pause(word) {
  console.log(word);
  await lines.next();
}

const out = {};
const handles = ['mysql', 'mariadb'].map(
  (dialect) =>
    new Sequelize('demo', user, password, {
      dialect,
      host: '127.0.0.1',
      port: Number(port),
      logging: false,
      timezone: '+02:00',
      pool: { min: 1, max: 1 },
      dialectOptions: dialect === 'mariadb' ? { allowPublicKeyRetrieval: true } : {},
    }),
);
for (const db of handles) {
  const marker = await db.query("SELECT 'set up' AS marker", { type: QueryTypes.SELECT });
  out[db.getDialect()] = { marker };
}
await pause('ready');
for (const db of handles) Object.assign(out[db.getDialect()], await session(db));
await pause('done');
for (const db of handles) await db.close();
console.log(JSON.stringify(out));

async function session(db) {
  const seen = { ids: [], readBack: [], lists: [] };
  const Book = db.define(
    'Book',
    {
      title: { type: DataTypes.STRING(50), unique: 'by_title' },
      copies: { type: DataTypes.INTEGER, defaultValue: 1 },
    },
    { tableName: 'fw_sequelize' },
  );
  await Book.sync({ force: true });
  for (const title of ['one', 'zwei', 'äöü😀']) seen.ids.push((await Book.create({ title })).id);
  for (const id of seen.ids) {
    const book = await Book.findByPk(id);
    seen.readBack.push([book.title, book.copies]);
  }
  await Book.increment({ copies: 6 }, { where: { title: 'one' } });
  seen.sum = await Book.sum('copies');
  await db.transaction(async (transaction) => {
    const locked = await Book.findOne({ where: { title: 'zwei' }, lock: true, transaction });
    seen.locked = locked.id;
    await Book.create({ title: 'kept' }, { transaction });
    seen.savepoint = await db
      .transaction({ transaction }, async (inner) => {
        await Book.create({ title: 'back to the savepoint' }, { transaction: inner });
        throw new Error('back');
      })
      .catch((error) => error.message);
    seen.seesItsOwn = await Book.count({ transaction });
  });
  const isolationLevel = Transaction.ISOLATION_LEVELS.SERIALIZABLE;
  seen.rolledBack = await db
    .transaction({ isolationLevel }, async (transaction) => {
      seen.deleted = await Book.destroy({ where: {}, transaction });
      throw new Error('back');
    })
    .catch((error) => error.message);
  seen.afterRollback = await Book.count();
  seen.bulk = (await Book.bulkCreate([{ title: 'bulk 1' }, { title: 'bulk 2' }])).length;
  seen.foundOrCreated = [];
  for (const title of ['one', 'new'])
    seen.foundOrCreated.push((await Book.findOrCreate({ where: { title } }))[1]);
  seen.error = await Book.create({ title: 'one' }).catch((error) => [
    error instanceof UniqueConstraintError,
    error.parent.errno,
    error.parent.sqlState,
  ]);
  for (let n = 0; n < 10; n++) {
    const books = await Book.findAll({ where: { copies: { [Op.lte]: n } }, order: ['id'] });
    seen.lists.push(books.map(({ id, title }) => [id, title]));
  }
  const type = QueryTypes.SELECT;
  seen.epoch = await db.query("SELECT FROM_UNIXTIME(0) AS epoch, COLLATION('a') AS collation", { type });
  seen.state = await db.query('SELECT @@time_zone, @@sql_mode, @@collation_connection, @@autocommit', {
    type,
  });
  await Book.drop();
  return seen;
}
