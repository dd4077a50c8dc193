# Ruby's mysql2: prints what it got, as JSON. Arguments: port, user, password, tls (0 or 1).
require 'json'
require 'mysql2'

port, user, password, tls = ARGV
options = { host: '127.0.0.1', port: port.to_i, username: user, password: password, database: 'demo',
            encoding: 'utf8mb4', flags: Mysql2::Client::MULTI_STATEMENTS }
options.merge!(sslverify: false) if tls == '1'
db = Mysql2::Client.new(**options)
out = {}
error_of = lambda do |sql|
  db.query(sql)
  nil
rescue Mysql2::Error => e
  [e.error_number, e.sql_state, e.message]
end

out['select'] = db.query("select 6*7 as a, 'äöü😀' as b, null as c, 1.5 as d").to_a
db.query('drop table if exists ruby')
db.query('create table ruby (id int auto_increment primary key, v varchar(50), b longblob)')
insert = db.prepare('insert into ruby (v, b) values (?, ?)')
out['inserted'] = [['one', "\0\xff".b], ['zwei', nil]].map { |v, b| insert.execute(v, b); [insert.affected_rows, insert.last_id] }
insert.execute('big', 'x' * 20_000_000)
out['big'] = db.query("select b from ruby where v = 'big'").first['b'].size
select = db.prepare('select id, v from ruby where id < ? order by id')
out['prepared'] = [2, 9].map { |limit| select.execute(limit).to_a }
out['streamed'] = db.prepare('select id from ruby order by id').execute(stream: true, cache_rows: false).map { |row| row['id'] }
db.query('begin')
db.query('delete from ruby')
db.query('rollback')
out['after_rollback'] = db.query('select count(*) as n from ruby').first
out['errors'] = ['select * from missing', 'selec', 'insert into ruby (id) values (1)'].map { |sql| error_of.call(sql) }
out['several'] = [db.query('select 1 as a; select 2 as b; do 1').to_a]
while db.next_result
  result = db.store_result
  out['several'] << (result && result.to_a)
end
db.select_db('mysql')
out['database'] = db.query('select database() as d').first
out['ping'] = db.ping
out['info'] = db.query_info
db.query('drop table demo.ruby')
db.close
puts JSON.generate(out)
