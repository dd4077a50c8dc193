<?php
/**
 * Laravel's database layer and its Eloquent models, with the options of a fresh application: the small session
 * that every framework program here runs. Arguments: port, user, password.
 *
 * It says "ready" when its connection is set up and "done" before it closes it, and goes on each time when a
 * line comes in; its last line is what it saw, as JSON.
 */
require 'Illuminate/Database/autoload.php';

use Illuminate\Container\Container;
use Illuminate\Database\Capsule\Manager;
use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\QueryException;

[, $port, $user, $password] = $argv;

class Book extends Model
{
    protected $table = 'fw_laravel';
    protected $guarded = [];
}

function pause(string $word): void
{
    echo $word, "\n";
    fgets(STDIN);
}

error_reporting(E_ALL & ~E_DEPRECATED);
$manager = new Manager();
$manager->addConnection([
    'driver' => 'mysql',
    'host' => '127.0.0.1',
    'port' => $port,
    'database' => 'demo',
    'username' => $user,
    'password' => $password,
    'charset' => 'utf8mb4',
    'collation' => 'utf8mb4_unicode_ci',
    'prefix' => '',
    'strict' => true,
    'engine' => null,
    'timezone' => '+02:00',
    'isolation_level' => 'READ COMMITTED',
]);
$manager->setAsGlobal();
$manager->bootEloquent();
$db = $manager->getConnection();

$out = ['marker' => $db->select("SELECT 'set up' AS marker")];
pause('ready');

$schema = $db->getSchemaBuilder();
$schema->dropIfExists('fw_laravel');
$schema->create('fw_laravel', function ($table) {
    $table->increments('id');
    $table->string('title', 50)->unique();
    $table->integer('copies')->default(1);
    $table->timestamps();
});
$out['has_table'] = $schema->hasTable('fw_laravel');
foreach (['one', 'zwei', 'äöü😀'] as $title) {
    $out['ids'][] = Book::create(['title' => $title])->id;
}
foreach ($out['ids'] as $id) {
    $out['read_back'][] = Book::findOrFail($id)->only(['title', 'copies']);
}
$out['updated'] = Book::where('title', 'one')->increment('copies', 6);
$out['sum'] = Book::sum('copies');
$db->transaction(function ($db) use (&$out) {
    $out['locked'] = Book::where('title', 'zwei')->lockForUpdate()->first()->id;
    Book::create(['title' => 'kept']);
    $db->beginTransaction();
    Book::create(['title' => 'back to the savepoint']);
    $db->rollBack();
    $out['sees_its_own'] = Book::count();
});
try {
    $db->transaction(function () use (&$out) {
        $out['deleted'] = Book::query()->delete();
        throw new RuntimeException('back');
    });
} catch (RuntimeException $error) {
    $out['after_rollback'] = [$error->getMessage(), Book::count()];
}
$out['inserted'] = Book::insert([['title' => 'bulk 1'], ['title' => 'bulk 2']]);
$out['updated_or_created'] = Book::updateOrCreate(['title' => 'new'], ['copies' => 3])->id;
try {
    Book::create(['title' => 'one']);
} catch (QueryException $error) {
    $out['error'] = $error->errorInfo;
}
for ($n = 0; $n < 10; $n++) {
    $out['lists'][] = Book::where('copies', '<=', $n)->orderBy('id')->pluck('title', 'id');
}
$out['streamed'] = Book::orderBy('id')->cursor()->map(fn ($book) => $book->title)->all();
$out['epoch'] = $db->select("SELECT FROM_UNIXTIME(0) AS epoch, COLLATION('a') AS collation");
$out['state'] = $db->select('SELECT @@time_zone, @@sql_mode, @@collation_connection, @@autocommit');
$schema->drop('fw_laravel');
pause('done');
$db->disconnect();
echo json_encode($out, JSON_UNESCAPED_UNICODE), "\n";
