/**
 * Real clients of several languages and makes: each runs a small program directly at a server and through
 * dbproxy, over plain connections, over TLS, and through split endpoints that spread its reads, and what it
 * prints must be the same.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { mysql97Command } from '../../scripts/mysql-servers.mjs';
import { forEachFlavour, type LabFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import { listenerWithTls } from '../support/listener-tls.ts';

const PROGRAMS = join(import.meta.dirname, 'programs');
const JDBC_JAR = '/usr/share/java/mariadb-java-client.jar';
const EVERY: readonly LabFlavour[] = ['mariadb', 'mysql97', 'mysql56'];
/** MySQL 9.7 wants caching_sha2_password, which some clients do not have. */
const NATIVE: readonly LabFlavour[] = ['mariadb', 'mysql56'];
const { user, password } = ADMIN_ACCOUNT;

const COMMON_OPTIONS = ['--max-allowed-packet=64M', '--local-infile=1'];
const SERVER_OPTIONS: Readonly<Record<LabFlavour, string[]>> = {
  mariadb: COMMON_OPTIONS,
  mysql97: COMMON_OPTIONS,
  // A value of 20 MB must fit into a tenth of the logs.
  mysql56: [...COMMON_OPTIONS, '--innodb-log-file-size=128M'],
};

interface ClientProgram {
  name: string;
  command: readonly string[];
  flavours: readonly LabFlavour[];
  /** Command lines get port and account as options and a script; programs get them as arguments. */
  script?: string;
  tlsOptions?: readonly string[];
  /** Something that it prints when it has done its work. */
  proof: RegExp;
  /** Why it cannot run on this machine; for what `npm test` does not install. */
  lacks?: string;
}

function program(name: string, interpreter: readonly string[], file: string): ClientProgram {
  return { name, command: [...interpreter, join(PROGRAMS, file)], flavours: EVERY, proof: /42.*missing/s };
}

const statements = join(PROGRAMS, 'statements.sql');

const clients: readonly ClientProgram[] = [
  {
    name: 'mariadb command line',
    command: ['mariadb'],
    tlsOptions: ['--ssl'],
    flavours: NATIVE,
    script: statements,
    proof: /20000000/,
  },
  {
    name: 'mysql command line of MySQL 9.7',
    command: [...mysql97Command('bin/mysql'), '--no-defaults', '--get-server-public-key'],
    tlsOptions: ['--ssl-mode=REQUIRED'],
    // It has no mysql_native_password any more.
    flavours: ['mysql97'],
    script: statements,
    proof: /20000000/,
  },
  { ...program('PyMySQL', ['/usr/bin/python3'], 'pymysql_client.py'), flavours: NATIVE },
  program('PHP mysqli and PDO', ['php'], 'php_client.php'),
  program('Perl DBD::mysql and DBD::MariaDB', ['perl'], 'perl_client.pl'),
  program('Ruby mysql2', ['ruby'], 'ruby_client.rb'),
  program('mysql2 (Node.js)', [process.execPath], 'mysql2_client.mjs'),
  program('mariadb (Node.js)', [process.execPath], 'mariadb_client.mjs'),
  {
    ...program('MariaDB Connector/J', ['java', '-cp', JDBC_JAR], 'JdbcClient.java'),
    ...lackOf(existsSync(JDBC_JAR) && spawnSync('javac', ['-version']).status === 0),
  },
];

/** A Java of 200 MB is not installed for one test. */
function lackOf(isThere: boolean): { lacks?: string } {
  return isThere ? {} : { lacks: 'no Java compiler with libmariadb-java on this machine' };
}

forEachFlavour((flavour) => {
  describe(`clients at ${flavour}`, () => {
    let lab: Lab;
    let proxiedPort = 0;
    let splitPort = 0;
    /** Where a session has a connection of its own only while something holds it. */
    let sharedPort = 0;
    /** Of a listener that refuses who comes without TLS. */
    let tlsPort = 0;

    before(async () => {
      lab = await startPair({ flavour, serverOptions: SERVER_OPTIONS[flavour] });
      const kept = { 'listener split': { causal_reads: 'session' } };
      const { ports } = await lab.startProxy({ workers: 1, config: kept });
      proxiedPort = ports.write;
      splitPort = ports.split;
      const shared = { 'listener split': { causal_reads: 'session', pool: 'transaction' } };
      const tls = listenerWithTls(lab.directory, 'required');
      const second = (await lab.startProxy({ workers: 1, config: { ...shared, ...tls } })).ports;
      tlsPort = second.write;
      sharedPort = second.split;
    });
    after(() => lab?.stop());

    for (const client of clients.filter(({ flavours }) => flavours.includes(flavour))) {
      it(`${client.name} sees the same`, { skip: client.lacks ?? false }, async () => {
        const direct = await output(client, lab.db1.port, false);
        assert.equal(direct.code, 0, `direct: ${direct.stderr}`);
        assert.match(direct.stdout, client.proof);
        assert.deepEqual(await output(client, proxiedPort, false), direct, 'through the proxy');
        assert.deepEqual(await output(client, tlsPort, true), direct, 'through the proxy, over TLS');
        assert.deepEqual(await output(client, sharedPort, false), direct, 'through a split endpoint');
        // With connections of its own a session is not different from server to server.
        if (flavour !== 'mariadb') return;
        assert.deepEqual(
          await output(client, splitPort, false),
          direct,
          'through a split endpoint that keeps',
        );
      });
    }
  });
});

interface Output {
  code: number | null;
  stdout: string;
  stderr: string;
}

async function output(client: ClientProgram, port: number, tls: boolean): Promise<Output> {
  const [name, ...args] = [...client.command, ...argumentsOf(client, port, tls)] as [string, ...string[]];
  const child = spawn(name, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const read = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (read.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (read.stderr += text));
  child.stdin.end(client.script === undefined ? '' : readFileSync(client.script));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout: withoutTimes(read.stdout), stderr: read.stderr };
}

/** `-f -vvv`: it goes on after errors, and says everything that it was told. */
function argumentsOf(client: ClientProgram, port: number, tls: boolean): string[] {
  if (client.script === undefined) return [String(port), user, password, tls ? '1' : '0'];
  return [
    '-h127.0.0.1',
    `-P${port}`,
    `-u${user}`,
    `-p${password}`,
    '-f',
    '-vvv',
    '-t',
    ...(tls ? client.tlsOptions! : []),
    'demo',
  ];
}

function withoutTimes(text: string): string {
  return text.replace(/\(\d+(\.\d+)? (min )?(\d+(\.\d+)? )?sec\)/g, '(# sec)');
}
