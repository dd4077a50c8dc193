/** MariaDB's connector for Node.js: prints what it got, as JSON. Arguments: port, user, password, tls (0 or 1). */
import { Buffer } from 'node:buffer';
import { createConnection } from 'mariadb';

const [port, user, password, tls] = process.argv.slice(2);
const ssl = tls === '1' ? { rejectUnauthorized: false } : undefined;
const connection = await createConnection({
  host: '127.0.0.1',
  port: Number(port),
  user,
  password,
  database: 'demo',
  multipleStatements: true,
  allowPublicKeyRetrieval: true,
  maxAllowedPacket: 64 * 1024 * 1024,
  ...(ssl === undefined ? {} : { ssl }),
});
const out = {};
const errorOf = (sql) =>
  connection.query(sql).then(
    () => null,
    (error) => [error.errno, error.sqlState, error.sqlMessage],
  );

out.select = await connection.query('select 6*7 as a, ? as b, null as c, 1.5 as d', ['äöü😀']);
await connection.query('drop table if exists node');
await connection.query('create table node (id int auto_increment primary key, v varchar(50), b longblob)');
out.batch = await connection.batch('insert into node (v, b) values (?, ?)', [
  ['one', Buffer.from([0, 255])],
  ['zwei', null],
  ['drei', Buffer.from('x')],
]);
for (const limit of [2, 9, 3]) {
  out[`executed_${limit}`] = await connection.execute('select id, v from node where id < ? order by id', [
    limit,
  ]);
}
out.big = (
  await connection.execute('insert into node (v, b) values (?, ?)', ['big', Buffer.alloc(20_000_000)])
).affectedRows;
out.bigRead = (await connection.query("select b from node where v = 'big'"))[0].b.length;
await connection.beginTransaction();
await connection.query('delete from node');
await connection.rollback();
out.afterRollback = await connection.query('select count(*) as n from node');
out.errors = [];
for (const sql of ['select * from missing', 'selec', 'insert into node (id) values (1)'])
  out.errors.push(await errorOf(sql));
out.several = await connection.query('select 1 as a; do 1; select 2 as b union select 3');
out.streamed = [];
for await (const row of connection.queryStream('select id from node order by id')) out.streamed.push(row);
// It refuses by itself to do this at a MySQL.
out.changed = await connection.changeUser({ user, password, database: 'mysql' }).then(
  () => true,
  (error) => error.sqlMessage,
);
out.database = await connection.query('select database() as d');
await connection.reset().catch((error) => (out.reset = error.errno ?? error.message));
await connection.ping();
await connection.query('drop table demo.node');
await connection.end();
console.log(JSON.stringify(out, (_, value) => (typeof value === 'bigint' ? String(value) : value)));
