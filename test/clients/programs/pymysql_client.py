"""PyMySQL: prints what it got, as JSON. Arguments: port, user, password, tls (0 or 1)."""
import json
import sys

import pymysql

port, user, password, tls = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == "1"
where = dict(host="127.0.0.1", port=port, user=user, password=password, database="demo", charset="utf8mb4")
if tls:
    where.update(ssl={"check_hostname": False, "verify_mode": False})
out = {}
connection = pymysql.connect(local_infile=True, max_allowed_packet=64 * 1024 * 1024, **where)
cursor = connection.cursor()


def error_of(sql, *values):
    try:
        cursor.execute(sql, *values)
    except pymysql.MySQLError as error:
        return [type(error).__name__, *error.args]
    return None


cursor.execute("select 6*7, %s, null, 1.5, cast('2024-02-29' as date)", ("äöü😀",))
out["select"] = [str(v) for v in cursor.fetchone()]
out["columns"] = [list(map(str, d)) for d in cursor.description]
cursor.execute("drop table if exists py")
cursor.execute("create table py (id int auto_increment primary key, v varchar(50), b longblob)")
out["many"] = cursor.executemany("insert into py (v) values (%s)", [(f"v{i}",) for i in range(100)])
out["insert_id"] = cursor.lastrowid
connection.rollback()
cursor.execute("select count(*) from py")
out["after_rollback"] = cursor.fetchone()[0]
cursor.execute("insert into py (v, b) values ('kept', %s)", (bytes(range(256)),))
connection.commit()
cursor.execute("select v, hex(b) from py")
out["kept"] = cursor.fetchall()
cursor.execute("insert into py (v, b) values ('big', %s)", (b"x" * 20_000_000,))
cursor.execute("select b from py where v = 'big'")
out["big"] = len(cursor.fetchone()[0])
out["errors"] = [error_of("select * from missing"), error_of("selec"), error_of("insert into py (id) select max(id) from py")]
cursor.execute("drop procedure if exists py_two")
cursor.execute("create procedure py_two() begin select 1; select 2, 3; end")
cursor.callproc("py_two")
results = [cursor.fetchall()]
while cursor.nextset():
    results.append(cursor.fetchall())
out["procedure"] = results
connection.select_db("mysql")
cursor.execute("select database()")
out["database"] = cursor.fetchone()[0]
connection.ping(reconnect=False)
connection.set_charset("latin1")
cursor.execute("select 'ä', @@character_set_client")
out["latin1"] = cursor.fetchone()
unbuffered = connection.cursor(pymysql.cursors.SSCursor)
unbuffered.execute("select t1.help_topic_id from help_topic t1 order by 1 limit 300")
out["unbuffered"] = len(unbuffered.fetchall())
cursor.execute("drop table demo.py")
connection.close()
print(json.dumps(out, ensure_ascii=False, default=str))
