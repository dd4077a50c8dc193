/**
 * Makes sure that what a command needs is on this machine: the npm packages of package-lock.json (one
 * of them is a Node.js new enough to run the sources), a few Debian packages, and for the tests the MySQL
 * servers of mysql-servers.mjs. Each step first looks whether there is anything to do, so a second run
 * takes milliseconds.
 *
 * This file runs before anything is installed: plain JavaScript for Node.js 20 or newer, no packages.
 *
 *   node scripts/prepare.mjs start|run|build|test|bench|chaos PROGRAM [ARGUMENTS]
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  installServers,
  machineRunsMysql,
  missingServers,
  SERVER_CACHE,
  testFlavours,
} from './mysql-servers.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const THIS_FILE = fileURLToPath(import.meta.url);
const CACHE = join(ROOT, '.cache');
/** The Node.js among the npm packages. */
const BUNDLED_NODE = join(ROOT, 'node_modules', '.bin', 'node');
const NODE_MAJOR_NEEDED = 24;
const EXIT_MISSING = 69;
const EXIT_TRY_AGAIN = 75;
/** How long to wait for another run that installs, or for somebody else's apt. */
const LOCK_WAIT_SECONDS = 600;
const LOCK_RETRY_MS = 3_000;
const KILL_AFTER_MS = 1_000;
const HEARTBEAT_MS = 10_000;

const POLICY = '/usr/sbin/policy-rc.d';
const POLICY_SAVED = '/usr/sbin/policy-rc.d.before-dbproxy';
const POLICY_TEXT = '#!/bin/sh\n# put here by dbproxy while it installs Debian packages\nexit 101\n';

/** What has to answer on this machine, and the Debian package that brings it. */
const MARIADB_SERVER = { package: 'mariadb-server', present: () => hasProgram('mariadbd') };
const MARIADB_INSTALL = { package: 'mariadb-server', present: () => hasProgram('mariadb-install-db') };
const MARIADB_CLIENT = { package: 'mariadb-client', present: () => hasProgram('mariadb') };
const PYMYSQL = { package: 'python3-pymysql', present: () => hasPythonModule('pymysql') };
const PHP = { package: 'php-cli', present: () => hasProgram('php') };
const PHP_MYSQL = {
  package: 'php-mysql',
  present: () => runs('php', '-r', 'new mysqli(); PDO::MYSQL_ATTR_LOCAL_INFILE;'),
};
const PERL_MYSQL = { package: 'libdbd-mysql-perl', present: () => runs('perl', '-MDBD::mysql', '-e', '1') };
const PERL_MARIADB = {
  package: 'libdbd-mariadb-perl',
  present: () => runs('perl', '-MDBD::MariaDB', '-e', '1'),
};
const RUBY_MYSQL2 = { package: 'ruby-mysql2', present: () => runs('ruby', '-e', "require 'mysql2'") };
const DJANGO = { package: 'python3-django', present: () => hasPythonModule('django') };
const SQLALCHEMY = { package: 'python3-sqlalchemy', present: () => hasPythonModule('sqlalchemy') };
const MYSQLCLIENT = { package: 'python3-mysqldb', present: () => hasPythonModule('MySQLdb') };
const ACTIVERECORD = {
  package: 'ruby-activerecord',
  present: () => runs('ruby', '-e', "require 'active_record'"),
};
const LARAVEL = { package: 'php-illuminate-database', present: () => hasPhpLibrary('Illuminate/Database') };
const DOCTRINE = { package: 'php-doctrine-dbal', present: () => hasPhpLibrary('Doctrine/DBAL') };
const HAPROXY = { package: 'haproxy', present: () => hasProgram('haproxy') };
const SYSBENCH = { package: 'sysbench', present: () => hasProgram('sysbench') };
/** Its systemd-notify, which needs no systemd that runs. */
const SYSTEMD = { package: 'systemd', present: () => hasProgram('systemd-notify') };
const KEEPALIVED = { package: 'keepalived', present: () => hasProgram('keepalived') };
const PING = { package: 'iputils-ping', present: () => hasProgram('ping') };
const ETCD = { package: 'etcd-server', present: () => hasProgram('etcd') };
const IPROUTE = { package: 'iproute2', present: () => hasProgram('ip') };
/** The Node.js of npm is linked with it, and a bare Debian has it not. */
const LIBATOMIC = { package: 'libatomic1', present: () => runs(BUNDLED_NODE, '--version') };

/** What a pair of hosts needs; only root can be two hosts on one machine. */
const PAIR = process.getuid() === 0 ? [KEEPALIVED, PING, IPROUTE] : [];

/** Clients of other languages that tests run through the proxy. */
const OTHER_CLIENTS = [PYMYSQL, PHP, PHP_MYSQL, PERL_MYSQL, PERL_MARIADB, RUBY_MYSQL2];

/** What stands beside dbproxy on a host. */
const NEIGHBOURS = [HAPROXY, SYSTEMD, ETCD];

/** Frameworks whose sessions go through the split endpoint. */
const FRAMEWORKS = [DJANGO, SQLALCHEMY, MYSQLCLIENT, ACTIVERECORD, LARAVEL, DOCTRINE];

const DEBIAN_NEEDS = {
  run: () => [],
  build: () => [],
  start: (args) => (startsDemo(args) ? [MARIADB_SERVER, MARIADB_INSTALL] : []),
  test: () => [
    MARIADB_SERVER,
    MARIADB_INSTALL,
    MARIADB_CLIENT,
    ...OTHER_CLIENTS,
    ...FRAMEWORKS,
    ...NEIGHBOURS,
    ...PAIR,
  ],
  bench: () => [MARIADB_SERVER, MARIADB_INSTALL, HAPROXY, SYSBENCH, IPROUTE],
  chaos: () => [MARIADB_SERVER, MARIADB_INSTALL, SYSBENCH, IPROUTE],
};

let running = null;
let interrupted = null;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    interrupted = signal;
    if (running === null) process.exit(exitCodeOf(signal));
    if (!running.interruptible) return say('finishing the installation first');
    running.child.kill('SIGTERM');
    // npm ci hears SIGTERM only between its steps; what it leaves half done the next run does again.
    if (running.insist) setTimeout((child) => child.kill('SIGKILL'), KILL_AFTER_MS, running.child).unref();
  });
}

try {
  await main(process.argv[2], process.argv.slice(3));
} catch (error) {
  if (interrupted !== null) process.exit(exitCodeOf(interrupted));
  fail(EXIT_MISSING, error.message);
}

async function main(kind, args) {
  if (kind === '--locked-packages') return installPackages();
  if (kind === '--locked-debian') return installDebianPackages(args);
  if (kind === '--locked-servers') return installServers(args, run);
  if (!(kind in DEBIAN_NEEDS))
    fail(64, 'usage: prepare.mjs start|run|build|test|bench|chaos PROGRAM [ARGUMENTS]');

  const withDevelopment = ['build', 'test', 'bench', 'chaos'].includes(kind);
  if (!packagesAreCurrent(withDevelopment)) {
    await underLock(join(CACHE, 'install.lock'), '--locked-packages', []);
    if (!packagesAreCurrent(withDevelopment)) fail(EXIT_MISSING, 'npm ci did not bring all packages');
  }
  await prepareNode();
  await prepareDebianPackages(DEBIAN_NEEDS[kind](args));
  if (kind === 'test' || kind === 'chaos') await prepareServers();
}

/** `npm start` runs the demo unless it is given a configuration; src/cli/program.ts decides by the same rule. */
function startsDemo(args) {
  const configured = args.some((argument) => argument === '--config' || argument.startsWith('--config='));
  return !configured && !existsSync(join(ROOT, 'proxy.conf'));
}

// ---- npm packages

/** True when node_modules holds what package-lock.json says, by npm's own record of what it installed. */
function packagesAreCurrent(withDevelopment) {
  const wanted = readJson(join(ROOT, 'package-lock.json'));
  const installed = readJson(join(ROOT, 'node_modules', '.package-lock.json'));
  if (wanted === null) fail(EXIT_MISSING, 'package-lock.json is missing or cannot be read');
  if (installed === null) return false;
  return Object.entries(wanted.packages).every(([path, entry]) => {
    if (path === '' || (entry.dev && !withDevelopment)) return true;
    const found = installed.packages[path];
    // What is optional may be for another kind of machine; the Node.js among it is looked at later.
    if (found === undefined) return entry.optional === true;
    return found.version === entry.version;
  });
}

/** Runs under the lock: another run may have done the work while we waited for it. */
async function installPackages() {
  if (packagesAreCurrent(true)) return;
  const args = ['ci', '--include=dev', '--include=optional', '--ignore-scripts', '--no-audit', '--no-fund'];
  await run('npm packages (npm ci)', 'npm', args, { env: { ...process.env, PATH: pathWithoutOurs() } });
}

/** npm must not be run by the very Node.js that it is about to replace. */
function pathWithoutOurs() {
  const ours = join(ROOT, 'node_modules');
  return process.env.PATH.split(delimiter)
    .filter((folder) => !folder.startsWith(ours))
    .join(delimiter);
}

/** The Node.js that scripts/launch.sh will run the program with. */
async function prepareNode() {
  const program = existsSync(BUNDLED_NODE) ? BUNDLED_NODE : process.execPath;
  let { version, complaint } = askVersion(program);
  if (complaint.includes('libatomic.so')) {
    await prepareDebianPackages([LIBATOMIC]);
    ({ version, complaint } = askVersion(program));
  }
  if (version === null) fail(EXIT_MISSING, `${program} does not run on this machine: ${complaint}`);
  const major = Number(/^v(\d+)/.exec(version)?.[1] ?? 0);
  if (major < NODE_MAJOR_NEEDED) {
    fail(EXIT_MISSING, `please install Node.js ${NODE_MAJOR_NEEDED} or newer; found is ${version}`);
  }
}

/** The version of a Node.js, or null and what was said instead. */
function askVersion(program) {
  if (program === process.execPath) return { version: process.version, complaint: '' };
  const { status, stdout, stderr, error } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  if (status === 0) return { version: stdout.trim(), complaint: '' };
  return { version: null, complaint: error?.message ?? stderr.trim() };
}

// ---- Debian packages

async function prepareDebianPackages(needs) {
  const missing = missingPackages(needs);
  if (missing.length === 0) return;
  const command = `apt-get install --no-install-recommends ${missing.join(' ')}`;
  if (!hasProgram('apt-get')) fail(EXIT_MISSING, `please install these programs: ${missing.join(' ')}`);
  if (process.getuid() !== 0) fail(EXIT_MISSING, `please install what is missing, as root: ${command}`);
  await underLock('/run/dbproxy-apt.lock', '--locked-debian', missing);
  const still = missingPackages(needs);
  if (still.length > 0)
    fail(EXIT_MISSING, `${command} did not bring what is needed from: ${still.join(' ')}`);
}

function missingPackages(needs) {
  return [...new Set(needs.filter((need) => !need.present()).map((need) => need.package))];
}

/**
 * Runs under the lock. A policy-rc.d that forbids it keeps the installed services from starting; the one
 * that was there comes back in any case, also after an earlier run was killed in the middle.
 */
async function installDebianPackages(packages) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (what, args, interruptible = true) =>
    run(what, 'apt-get', ['-q', '-o', `DPkg::Lock::Timeout=${LOCK_WAIT_SECONDS}`, ...args], {
      env,
      interruptible,
    });
  const install = ['install', '-y', '--no-install-recommends'];

  await apt('list of Debian packages (apt-get update)', ['update']);
  await apt(`download of ${packages.join(', ')}`, [...install, '--download-only', ...packages]);
  const restore = forbidServices();
  try {
    await apt(`Debian packages ${packages.join(', ')}`, [...install, ...packages], false);
  } finally {
    restore();
  }
}

function forbidServices() {
  const leftover = existsSync(POLICY) && readFileSync(POLICY, 'utf8') === POLICY_TEXT;
  if (existsSync(POLICY) && !leftover) renameSync(POLICY, POLICY_SAVED);
  writeFileSync(POLICY, POLICY_TEXT, { mode: 0o755 });
  return () => {
    rmSync(POLICY, { force: true });
    if (existsSync(POLICY_SAVED)) renameSync(POLICY_SAVED, POLICY);
  };
}

// ---- MySQL servers

async function prepareServers() {
  if (!machineRunsMysql()) say('MySQL is skipped: its servers for the tests are for x86-64 Linux only');
  const flavours = testFlavours();
  const missing = missingServers(flavours);
  if (missing.length === 0) return;
  await underLock(join(SERVER_CACHE, 'install.lock'), '--locked-servers', missing);
  const still = missingServers(flavours);
  if (still.length > 0) fail(EXIT_MISSING, `these servers could not be fetched: ${still.join(' ')}`);
}

// ---- running and looking

/** Runs one long step; its output goes to a file, of which the end is shown when it fails. */
async function run(what, program, args, { env, interruptible = true }) {
  mkdirSync(CACHE, { recursive: true });
  const logPath = join(CACHE, `${program}.log`);
  const started = Date.now();
  const seconds = () => `${Math.round((Date.now() - started) / 1000)} s`;
  say(`installing: ${what}`);
  const heartbeat = setInterval(() => say(`installing: ${what}, ${seconds()} so far`), HEARTBEAT_MS);
  try {
    for (;;) {
      const log = openSync(logPath, 'w');
      const stdio = ['ignore', log, log];
      // A step that must not be cut short is kept out of the process group that a terminal's Ctrl-C ends.
      const child = spawn(program, args, { cwd: ROOT, env, stdio, detached: !interruptible });
      const code = await exitOf(child, interruptible, true);
      closeSync(log);
      if (interrupted !== null) throw new Error('interrupted');
      if (code === 0) break;
      const output = readFileSync(logPath, 'utf8').trimEnd();
      const waited = (Date.now() - started) / 1000;
      if (!output.includes('Could not get lock') || waited > LOCK_WAIT_SECONDS) {
        console.error(output.split('\n').slice(-15).join('\n'));
        throw new Error(`${program} ${args.join(' ')} failed (${code}); its output is in ${logPath}`);
      }
      await delay(LOCK_RETRY_MS);
    }
  } finally {
    clearInterval(heartbeat);
  }
  say(`installed:  ${what}, ${seconds()}`);
}

/** Runs this file again while it holds a lock that the kernel takes back when the holder dies. */
async function underLock(lockPath, step, args) {
  mkdirSync(dirname(lockPath), { recursive: true });
  const command = [process.execPath, THIS_FILE, step, ...args];
  const locked = ['flock', '--no-fork', '--timeout', String(LOCK_WAIT_SECONDS), lockPath, ...command];
  const [program, ...rest] = hasProgram('flock') ? locked : command;
  const code = await exitOf(spawn(program, rest, { cwd: ROOT, stdio: 'inherit' }), true);
  if (interrupted !== null) process.exit(exitCodeOf(interrupted));
  if (code === 1) fail(EXIT_TRY_AGAIN, `another installation holds ${lockPath}; try again later`);
  if (code !== 0) process.exit(EXIT_MISSING);
}

/** Waits for `child`; a signal that arrives meanwhile is passed on when it may be interrupted. */
async function exitOf(child, interruptible, insist = false) {
  running = { child, interruptible, insist };
  const code = await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (status, signal) => resolve(status ?? signal));
  });
  running = null;
  return code;
}

function hasProgram(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
  return folders.some((folder) => isExecutable(join(folder, name)));
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Debian's own Python: another one that comes first in PATH would not see Debian's packages. */
function hasPythonModule(name) {
  return existsSync(join('/usr/lib/python3/dist-packages', name, '__init__.py'));
}

function hasPhpLibrary(name) {
  return existsSync(join('/usr/share/php', name, 'autoload.php'));
}

function runs(program, ...args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
}

function say(text) {
  console.error(`dbproxy: ${text}`);
}

function fail(code, text) {
  say(text);
  process.exit(code);
}

function exitCodeOf(signal) {
  return { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }[signal];
}
