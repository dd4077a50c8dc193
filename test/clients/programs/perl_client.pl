# Perl's DBD::mysql and DBD::MariaDB: prints what they got, as JSON. Arguments: port, user, password, tls.
use strict;
use warnings;
use utf8;
use DBI;
use JSON::PP;

my ($port, $user, $password, $tls) = @ARGV;
my %out;
for my $driver ('mysql', 'MariaDB') {
    my $prefix = $driver eq 'mysql' ? 'mysql' : 'mariadb';
    my $ssl = $tls ? ";${prefix}_ssl=1;${prefix}_ssl_optional=1" : '';
    my $db = DBI->connect("DBI:$driver:database=demo;host=127.0.0.1;port=$port;${prefix}_multi_statements=1$ssl",
        $user, $password, { RaiseError => 0, PrintError => 0, AutoCommit => 1, "${prefix}_server_prepare" => 1,
            ($driver eq 'mysql' ? (mysql_enable_utf8mb4 => 1) : ()) }) or die "no connection: $DBI::errstr";
    my %got;
    $got{server} = $db->{"${prefix}_serverinfo"};
    $got{select} = $db->selectrow_arrayref('select 6*7, ?, null, 1.5', undef, 'äöü') or die $db->errstr;
    $db->do('drop table if exists perl_t');
    $db->do('create table perl_t (id int auto_increment primary key, v varchar(50), b longblob)');
    my $insert = $db->prepare('insert into perl_t (v) values (?)');
    $got{inserted} = [ map { $insert->execute("v$_") } 1 .. 10 ];
    $got{insert_id} = $db->{"${prefix}_insertid"};
    my $big = $db->prepare("insert into perl_t (v, b) values ('big', repeat(?, 20000000))");
    $got{big} = $big->execute('x');
    $got{big_read} = length $db->selectrow_arrayref("select b from perl_t where v = 'big'")->[0];
    my $select = $db->prepare('select id, v from perl_t where id < ? order by id');
    for my $limit (3, 5) {
        $select->execute($limit);
        push @{ $got{selected} }, $select->fetchall_arrayref;
    }
    $got{names} = $select->{NAME};
    $db->begin_work;
    $db->do('delete from perl_t');
    $db->rollback;
    $got{after_rollback} = $db->selectrow_arrayref('select count(*) from perl_t');
    for my $sql ('select * from missing', 'selec', 'insert into perl_t (id) values (1)') {
        $db->do($sql);
        push @{ $got{errors} }, [ $db->err, $db->state, $db->errstr ];
    }
    $db->do('drop procedure if exists perl_two');
    $db->do('create procedure perl_two() begin select 1; select 2, 3; end');
    my $call = $db->prepare('call perl_two()', { "${prefix}_server_prepare" => 0 });
    $call->execute;
    do { push @{ $got{procedure} }, $call->fetchall_arrayref if $call->{NUM_OF_FIELDS} } while $call->more_results;
    $got{ping} = $db->ping ? 1 : 0;
    $db->do('drop table perl_t');
    $db->disconnect;
    $out{$driver} = \%got;
}
print JSON::PP->new->canonical->utf8->encode(\%out), "\n";
