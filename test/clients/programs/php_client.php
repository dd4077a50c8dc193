<?php
/** PHP's mysqli and PDO: prints what they got, as JSON. Arguments: port, user, password, tls (0 or 1). */
[, $port, $user, $password, $tls] = $argv;
$out = [];

mysqli_report(MYSQLI_REPORT_OFF);
$db = mysqli_init();
$db->options(MYSQLI_OPT_INT_AND_FLOAT_NATIVE, 1);
if (!$db->real_connect('127.0.0.1', $user, $password, 'demo', (int)$port, null,
    $tls ? MYSQLI_CLIENT_SSL | MYSQLI_CLIENT_SSL_DONT_VERIFY_SERVER_CERT : 0)) {
    exit("no connection: " . $db->connect_error . "\n");
}
$db->set_charset('utf8mb4');
$out['server'] = $db->server_info;
$out['select'] = $db->query("select 6*7 as a, 'äöü😀' as b, null as c, 1.5e0 as d")->fetch_assoc();
$db->query('drop table if exists php');
$db->query('create table php (id int auto_increment primary key, v varchar(50), b longblob, d datetime(6))');
$insert = $db->prepare('insert into php (v, b, d) values (?, ?, ?)');
foreach ([['one', "\0\xff", '2024-02-29 12:00:00.5'], ['zwei', null, null]] as [$v, $b, $d]) {
    $insert->bind_param('sss', $v, $b, $d);
    $insert->execute();
    $out['inserted'][] = [$insert->affected_rows, $insert->insert_id];
}
$long = $db->prepare("insert into php (v, b) values ('long', ?)");
$null = null;
$long->bind_param('b', $null);
for ($i = 0; $i < 20; $i++) $long->send_long_data(0, str_repeat('x', 1000000));
$out['long'] = [$long->execute(), $long->error];
$select = $db->prepare('select id, v, length(b) n, d from php where id > ? order by id');
$from = 0;
$select->bind_param('i', $from);
$select->execute();
$out['prepared'] = $select->get_result()->fetch_all(MYSQLI_ASSOC);
$cursor = $db->stmt_init();
$cursor->prepare('select id from php order by id');
$cursor->attr_set(MYSQLI_STMT_ATTR_CURSOR_TYPE, MYSQLI_CURSOR_TYPE_READ_ONLY);
$cursor->execute();
$cursor->bind_result($id);
while ($cursor->fetch()) $out['cursor'][] = $id;
$cursor->close();
$db->begin_transaction();
$db->query('delete from php');
$db->rollback();
$out['after_rollback'] = $db->query('select count(*) from php')->fetch_row();
foreach (['select * from missing', 'selec', "insert into php (id) values (1)"] as $sql) {
    $db->query($sql);
    $out['errors'][] = [$db->errno, $db->sqlstate, $db->error];
}
$db->query("set sql_mode = ''");
$db->query("insert into php (id) values ('9x')");
$out['warnings'] = [$db->warning_count, $db->info];
$db->query('drop procedure if exists php_two');
$db->query('create procedure php_two(out a int) begin select 1; set a = 7; select 2, 3; end');
$db->multi_query('call php_two(@a); select @a');
do {
    $out['multi'][] = ($result = $db->store_result()) ? $result->fetch_all() : null;
} while ($db->more_results() && $db->next_result());
$out['change_user'] = [$db->change_user($user, $password, 'mysql'), $db->query('select database()')->fetch_row()];
$out['select_db'] = [$db->select_db('demo'), $db->select_db('missing'), $db->errno];
$db->set_charset('latin1');
$out['latin1'] = bin2hex($db->query("select v from php where v = 'zwei' union select 'x'")->fetch_row()[0]);
$out['stat'] = preg_replace('/[\d.]+/', '#', $db->stat());
$db->close();

$pdo = new PDO("mysql:host=127.0.0.1;port=$port;dbname=demo;charset=utf8mb4", $user, $password,
    [PDO::ATTR_EMULATE_PREPARES => false] +
    ($tls ? [PDO::MYSQL_ATTR_SSL_CA => '', PDO::MYSQL_ATTR_SSL_VERIFY_SERVER_CERT => false] : []));
$statement = $pdo->prepare('select ? as a, ? as b, id from php where id < ? order by id');
$statement->execute(['ä', null, 3]);
$out['pdo'] = $statement->fetchAll(PDO::FETCH_ASSOC);
$statement->execute(['again', 'x', 2]);
$out['pdo_again'] = $statement->fetchAll(PDO::FETCH_ASSOC);
try {
    $pdo->query('select * from missing');
} catch (PDOException $error) {
    $out['pdo_error'] = $error->errorInfo;
}
$pdo->beginTransaction();
$pdo->exec("update php set v = 'gone'");
$pdo->rollBack();
$out['pdo_rows'] = $pdo->query('select v from php order by id')->fetchAll(PDO::FETCH_COLUMN);
$pdo->exec('drop table php');
echo json_encode($out, JSON_UNESCAPED_UNICODE), "\n";
