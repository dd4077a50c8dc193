/**
 * The program from outside: what a shell sees of it, above all its exit codes.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { freePorts } from '../lab/ports.ts';

const CLI = join(import.meta.dirname, '../../src/cli.ts');

suite('the exit code', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dbproxy-cli-'));
  after(() => rmSync(directory, { recursive: true }));

  function dbproxy(...args: string[]): { status: number | null; stdout: string; stderr: string } {
    return spawnSync(process.execPath, [CLI, ...args], { cwd: directory, encoding: 'utf8' });
  }

  test('is 0 for version and help, which go to standard output', () => {
    const version = dbproxy('version');
    assert.deepEqual([version.status, version.stderr], [0, '']);
    assert.match(version.stdout, /^dbproxy \d+\.\d+\.\d+\n$/);
    assert.match(dbproxy('--help').stdout, /check-config/);
  });

  test('is 64 for a command line that makes no sense, in one line', () => {
    const { status, stderr, stdout } = dbproxy('rnu');
    assert.deepEqual([status, stdout], [64, '']);
    assert.match(stderr, /^dbproxy: there is no command 'rnu'; did you mean 'run'\?.*\n$/);
  });

  test('is 78 for a configuration that is not there', () => {
    assert.equal(dbproxy('run').status, 78);
    assert.equal(dbproxy('doctor').status, 78);
    const { status, stderr } = dbproxy('check-config', '--config', 'nowhere.conf');
    assert.equal(status, 78);
    assert.match(stderr, /nowhere\.conf/);
  });

  test('is 78 for a configuration with errors, each of them told', () => {
    writeFileSync(join(directory, 'bad.conf'), '[dbproxy]\nworkers = many\nlog_levle = info\n');
    const { status, stderr } = dbproxy('check-config', '--config', 'bad.conf');
    assert.equal(status, 78);
    assert.match(stderr, /workers/);
    assert.match(stderr, /log_level/);
  });

  test('is 69 for admin when no proxy runs', async () => {
    const [port] = await freePorts(1);
    writeFileSync(
      join(directory, 'idle.conf'),
      `[admin]\naddress = 127.0.0.1:${port}\nuser = admin\npassword = admin\n
       [cluster main]\nmonitor_user = m\nmonitor_password = m\nreplication_user = r\nreplication_password = r\n
       [backend db1]\ncluster = main\naddress = 127.0.0.1:1\nrw_weight = 1\n
       [listener write]\ncluster = main\naddress = 127.0.0.1:2\nmode = write\n
       [user app]\npassword = app\n`,
    );
    const { status, stderr } = dbproxy('admin', '--config', 'idle.conf', 'SHOW BACKENDS');
    assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${port}`));
    assert.equal(status, 69);
  });
});

suite('output into a pipe', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dbproxy-cli-'));
  after(() => rmSync(directory, { recursive: true }));
  const errors = 2000;
  const config = join(directory, 'long.conf');
  writeFileSync(
    config,
    `[dbproxy]\n${Array.from({ length: errors }, (_none, n) => `not_a_key_of_dbproxy_${n} = 1\n`).join('')}`,
  );

  /** What comes behind the pipe, and the exit code of dbproxy before it. */
  function piped(reader: string): { text: string; status: number } {
    const script = `("$0" "$1" check-config --config "$2" 2>&1; echo "$?" >"$3") | ${reader}`;
    const statusFile = join(directory, 'status');
    const { stdout } = spawnSync('sh', ['-c', script, process.execPath, CLI, config, statusFile], {
      encoding: 'utf8',
    });
    return { text: stdout, status: Number(readFileSync(statusFile, 'utf8')) };
  }

  test('comes whole, however much the pipe takes at once', () => {
    const { text, status } = piped('cat');
    assert.ok(text.length > 128 * 1024);
    assert.match(text.trimEnd().split('\n').at(-1)!, new RegExp(`not_a_key_of_dbproxy_${errors - 1}`));
    assert.equal(status, 78);
  });

  test('that is read no further ends quietly, with the same exit code', () => {
    assert.deepEqual(piped('head -n 1'), { text: 'dbproxy: Configuration has errors:\n', status: 78 });
  });
});
