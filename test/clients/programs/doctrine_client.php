<?php
/**
 * Doctrine DBAL on PDO and on mysqli, as Symfony sets it up: the small session that every framework program
 * here runs. Arguments: port, user, password.
 *
 * It says "ready" when its connections are set up and "done" before it closes them, and goes on each time when a
 * line comes in; its last line is what it saw, as JSON.
 */
require 'Doctrine/DBAL/autoload.php';

use Doctrine\DBAL\Connection;
use Doctrine\DBAL\DriverManager;
use Doctrine\DBAL\Exception\UniqueConstraintViolationException;
use Doctrine\DBAL\Schema\Schema;
use Doctrine\DBAL\TransactionIsolationLevel;

[, $port, $user, $password] = $argv;
error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);

function pause(string $word): void
{
    echo $word, "\n";
    fgets(STDIN);
}

$common = ['host' => '127.0.0.1', 'port' => (int)$port, 'user' => $user, 'password' => $password,
    'dbname' => 'demo', 'charset' => 'utf8mb4'];
$connections = [
    'pdo' => DriverManager::getConnection($common + ['driver' => 'pdo_mysql',
        'driverOptions' => [PDO::MYSQL_ATTR_INIT_COMMAND => "SET time_zone = '+02:00', sql_mode = 'STRICT_ALL_TABLES'"]]),
    'mysqli' => DriverManager::getConnection($common + ['driver' => 'mysqli']),
];
foreach ($connections as $name => $db) {
    $out[$name]['marker'] = $db->fetchAssociative("SELECT 'set up' AS marker");
}
pause('ready');

foreach ($connections as $name => $db) {
    $out[$name] += session($db);
}
pause('done');
foreach ($connections as $db) {
    $db->close();
}
echo json_encode($out, JSON_UNESCAPED_UNICODE), "\n";

function session(Connection $db): array
{
    $schemas = $db->createSchemaManager();
    if ($schemas->tablesExist(['fw_doctrine'])) {
        $schemas->dropTable('fw_doctrine');
    }
    $schema = new Schema();
    $table = $schema->createTable('fw_doctrine');
    $table->addColumn('id', 'integer', ['autoincrement' => true]);
    $table->addColumn('title', 'string', ['length' => 50]);
    $table->addColumn('copies', 'integer', ['default' => 1]);
    $table->addOption('charset', 'utf8mb4');
    $table->addOption('collation', 'utf8mb4_unicode_ci');
    $table->setPrimaryKey(['id']);
    $table->addUniqueIndex(['title']);
    $schemas->createTable($table);
    foreach (['one', 'zwei', 'äöü😀'] as $title) {
        $db->insert('fw_doctrine', ['title' => $title]);
        $out['ids'][] = (int)$db->lastInsertId();
    }
    foreach ($out['ids'] as $id) {
        $out['read_back'][] = $db->fetchNumeric('SELECT title, copies FROM fw_doctrine WHERE id = ?', [$id]);
    }
    $out['updated'] = $db->executeStatement('UPDATE fw_doctrine SET copies = copies + ? WHERE title = ?', [6, 'one']);
    $db->setNestTransactionsWithSavepoints(true);
    $db->transactional(function (Connection $db) use (&$out) {
        $out['locked'] = $db->fetchOne('SELECT id FROM fw_doctrine WHERE title = ? FOR UPDATE', ['zwei']);
        $db->insert('fw_doctrine', ['title' => 'kept']);
        $db->beginTransaction();
        $db->insert('fw_doctrine', ['title' => 'back to the savepoint']);
        $db->rollBack();
        $out['sees_its_own'] = $db->fetchOne('SELECT COUNT(*) FROM fw_doctrine');
    });
    $db->setTransactionIsolation(TransactionIsolationLevel::READ_COMMITTED);
    $db->beginTransaction();
    $out['deleted'] = $db->delete('fw_doctrine', ['copies' => 1]);
    $db->rollBack();
    $out['after_rollback'] = $db->fetchOne('SELECT COUNT(*) FROM fw_doctrine');
    try {
        $db->insert('fw_doctrine', ['title' => 'one']);
    } catch (UniqueConstraintViolationException $error) {
        $out['error'] = [$error->getCode(), $error->getMessage()];
    }
    for ($n = 0; $n < 10; $n++) {
        $out['lists'][] = $db->createQueryBuilder()->select('id', 'title')->from('fw_doctrine')
            ->where('copies <= :n')->setParameter('n', $n)->orderBy('id')->executeQuery()->fetchAllKeyValue();
    }
    $out['epoch'] = $db->fetchNumeric("SELECT FROM_UNIXTIME(0) AS epoch, COLLATION('a') AS collation");
    $out['state'] = $db->fetchNumeric('SELECT @@time_zone, @@sql_mode, @@collation_connection, @@autocommit');
    $out['columns'] = array_keys($schemas->listTableColumns('fw_doctrine'));
    $schemas->dropTable('fw_doctrine');
    return $out;
}
