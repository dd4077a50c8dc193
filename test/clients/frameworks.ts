/**
 * The programs that run a small, typical session of a framework: connect, make a table, insert and read back by
 * the generated id, transactions that are committed, rolled back, nested, read-only, and reads of a list. Each
 * says "ready" once its connection is set up and "done" before it closes it, and waits each time for a line, so
 * that whoever runs it can look at its session from outside.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ADMIN_ACCOUNT } from '../lab/pair.ts';

const ROOT = join(import.meta.dirname, '../..');
const PROGRAMS = join(import.meta.dirname, 'programs');
/** A program that hangs must not hang the run. */
const PROGRAM_TIMEOUT_MS = 60_000;
const GO_SOURCES = '/usr/share/gocode';
const GO_DRIVER = join(GO_SOURCES, 'src/github.com/go-sql-driver/mysql');
const JARS = [
  'HikariCP',
  'spring3-jdbc',
  'spring3-transaction',
  'spring3-core',
  'spring3-beans',
  'commons-logging',
  'slf4j-api',
  'mariadb-java-client',
].map((name) => `/usr/share/java/${name}.jar`);

export interface Framework {
  readonly name: string;
  readonly command: readonly string[];
  /** More arguments, after port, user and password. */
  readonly options?: readonly string[];
  /** How many of its reads, at least, need nothing: no transaction, no lock, no server's own state. */
  readonly freeReads: number;
  /** It does not know caching_sha2_password. */
  readonly nativePasswordOnly?: true;
  /** What its version is asked of: Debian packages, or npm packages. */
  readonly packages: { readonly debian?: readonly string[]; readonly npm?: readonly string[] };
  /** Why it cannot run on this machine; for what `npm test` does not install. */
  readonly lacks?: string;
}

/** What a program says when it waits. */
export type Pause = 'ready' | 'done';

const python = ['/usr/bin/python3', '-B'];
const node = [process.execPath, '--no-deprecation'];

export const frameworks: readonly Framework[] = [
  {
    name: 'Django',
    command: [...python, join(PROGRAMS, 'django_client.py')],
    packages: { debian: ['python3-django', 'python3-mysqldb'] },
    freeReads: 11,
  },
  {
    name: 'SQLAlchemy, mysqlclient',
    command: [...python, join(PROGRAMS, 'sqlalchemy_client.py')],
    options: ['mysqldb'],
    packages: { debian: ['python3-sqlalchemy', 'python3-mysqldb'] },
    freeReads: 11,
  },
  {
    name: 'SQLAlchemy, PyMySQL',
    command: [...python, join(PROGRAMS, 'sqlalchemy_client.py')],
    options: ['pymysql'],
    packages: { debian: ['python3-sqlalchemy', 'python3-pymysql'] },
    nativePasswordOnly: true,
    freeReads: 11,
  },
  {
    name: 'ActiveRecord (Rails)',
    command: ['ruby', join(PROGRAMS, 'activerecord_client.rb')],
    packages: { debian: ['ruby-activerecord', 'ruby-mysql2'] },
    freeReads: 11,
  },
  {
    name: 'Laravel',
    command: ['php', join(PROGRAMS, 'laravel_client.php')],
    packages: { debian: ['php-illuminate-database', 'php8.2-mysql'] },
    freeReads: 11,
  },
  {
    name: 'Doctrine DBAL',
    command: ['php', join(PROGRAMS, 'doctrine_client.php')],
    packages: { debian: ['php-doctrine-dbal', 'php8.2-mysql'] },
    freeReads: 22,
  },
  {
    name: 'Knex',
    command: [...node, join(PROGRAMS, 'knex_client.mjs')],
    packages: { npm: ['knex', 'mysql2'] },
    freeReads: 11,
  },
  {
    name: 'Sequelize',
    command: [...node, join(PROGRAMS, 'sequelize_client.mjs')],
    packages: { npm: ['sequelize', 'mysql2', 'mariadb'] },
    freeReads: 22,
  },
  {
    name: 'TypeORM',
    command: [...node, join(PROGRAMS, 'typeorm_client.mjs')],
    packages: { npm: ['typeorm', 'mysql2'] },
    freeReads: 11,
  },
  {
    name: 'Spring, HikariCP, MariaDB Connector/J',
    command: ['java', '-cp', JARS.join(':'), join(PROGRAMS, 'SpringClient.java')],
    packages: { debian: ['libspring-jdbc-java', 'libhikaricp-java', 'libmariadb-java'] },
    freeReads: 11,
    ...lackOf(
      JARS.every((jar) => existsSync(jar)) && answers('javac', '-version'),
      'a Java compiler and Spring',
    ),
  },
  {
    name: 'Go, go-sql-driver/mysql',
    command: ['env', 'GO111MODULE=off', `GOPATH=${GO_SOURCES}`, 'go', 'run', join(PROGRAMS, 'go_client.go')],
    packages: { debian: ['golang-github-go-sql-driver-mysql-dev'] },
    freeReads: 11,
    ...lackOf(existsSync(GO_DRIVER) && answers('go', 'version'), 'Go and its MySQL driver'),
  },
];

/** A Java or a Go of 200 MB is not installed for one test. */
function lackOf(isThere: boolean, what: string): { lacks?: string } {
  return isThere ? {} : { lacks: `not on this machine: ${what}` };
}

function answers(program: string, ...args: string[]): boolean {
  return spawnSync(program, args).status === 0;
}

/** Runs a program at a port; `atPause` looks on while it waits. Answers what it saw; throws when it failed. */
export async function runFramework(
  framework: Framework,
  port: number,
  atPause: (pause: Pause) => Promise<void> = async () => undefined,
): Promise<string> {
  const { user, password } = ADMIN_ACCOUNT;
  const [name, ...args] = framework.command as [string, ...string[]];
  const child = spawn(name, [...args, String(port), user, password, ...(framework.options ?? [])], {
    timeout: PROGRAM_TIMEOUT_MS,
  });
  const closed = once(child, 'close') as Promise<[number | null]>;
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
  let seen = '';
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      if (line === 'ready' || line === 'done') {
        await atPause(line);
        if (line === 'ready') child.stdin.write('\n');
        else child.stdin.end('\n');
      } else seen += `${line}\n`;
    }
  } finally {
    child.kill();
  }
  const [code] = await closed;
  if (code !== 0) throw new Error(`${framework.name} failed with ${code}: ${complaints}`);
  return seen;
}

/** The versions of what a program is made of, in words. */
export function versionOf({ packages }: Framework): string {
  const debian = (packages.debian ?? []).map((name) => {
    const { stdout } = spawnSync('dpkg-query', ['-W', '-f', '${Version}', name], { encoding: 'utf8' });
    return `${name} ${stdout}`;
  });
  const npm = (packages.npm ?? []).map((name) => {
    const file = join(ROOT, 'node_modules', name, 'package.json');
    return `${name} ${(JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version}`;
  });
  return [...debian, ...npm].join(', ');
}
