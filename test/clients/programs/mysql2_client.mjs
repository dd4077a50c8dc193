/** mysql2, today's: prints what it got, as JSON. Arguments: port, user, password, tls (0 or 1). */
import { Buffer } from 'node:buffer';
import { createConnection } from 'mysql2/promise';

const [port, user, password, tls] = process.argv.slice(2);
const connection = await createConnection({
  host: '127.0.0.1',
  port: Number(port),
  user,
  password,
  database: 'demo',
  multipleStatements: true,
  supportBigNumbers: true,
  ...(tls === '1' ? { ssl: { rejectUnauthorized: false } } : {}),
});
const out = {};
const rowsOf = async (sql, values) => (await connection.query(sql, values))[0];
const errorOf = (sql) =>
  connection.query(sql).then(
    () => null,
    (error) => [error.errno, error.sqlState, error.sqlMessage],
  );

out.select = await rowsOf('select 6*7 as a, ? as b, null as c, 1.5 as d', ['äöü😀']);
await connection.query('drop table if exists node2');
await connection.query('create table node2 (id int auto_increment primary key, v varchar(50), b longblob)');
for (const value of ['one', 'zwei', null]) {
  const [written] = await connection.execute('insert into node2 (v) values (?)', [value]);
  out[`insert_${value}`] = [written.affectedRows, written.insertId];
}
for (const limit of [2, 9]) {
  const [rows] = await connection.execute('select id, v from node2 where id < ? order by id', [
    String(limit),
  ]);
  out[`executed_${limit}`] = rows;
}
await connection.execute('insert into node2 (v, b) values (?, ?)', ['big', Buffer.alloc(20_000_000)]);
out.bigRead = (await rowsOf("select b from node2 where v = 'big'"))[0].b.length;
await connection.beginTransaction();
await connection.query('delete from node2');
await connection.rollback();
out.afterRollback = await rowsOf('select count(*) as n from node2');
out.errors = [];
for (const sql of ['select * from missing', 'selec', 'insert into node2 (id) values (1)'])
  out.errors.push(await errorOf(sql));
out.several = await rowsOf('select 1 as a; do 1; select 2 as b union select 3');
// MySQL 5.6 refuses the change of user of a client that sends attributes.
const [{ version }] = await rowsOf('select version() as version');
if (!version.startsWith('5.6.')) await connection.changeUser({ user, password, database: 'mysql' });
out.database = await rowsOf('select database() as d');
await connection.ping();
await connection.query('drop table demo.node2');
await connection.end();
console.log(JSON.stringify(out));
