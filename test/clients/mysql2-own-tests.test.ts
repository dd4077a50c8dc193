/**
 * mysql2's own integration tests, as the last release that shipped them has them, each file a process of its
 * own: whatever passes directly at a server must pass through dbproxy. Files that fail directly (they are
 * old; servers and Node.js have moved on) are left out by that rule alone.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';

const run = promisify(execFile);
const FOLDER = join(import.meta.dirname, '../../node_modules/mysql2-with-tests/test/integration');
const FILE_TIMEOUT_MS = 15_000;
/** Of 61 files, so many pass directly; fewer means that this test has lost its teeth. */
const LEAST_PASSING = 50;

const files = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
  .filter((name) => /(^|\/)test-[^/]+\.js$/.test(name))
  .toSorted();

forEachFlavour(
  (flavour) => {
    describe(`mysql2's own tests at ${flavour}`, () => {
      let lab: Lab;
      let proxiedPort = 0;

      before(async () => {
        lab = await startPair({ flavour, serverOptions: ['--local-infile=1'] });
        proxiedPort = (await lab.startProxy({ workers: 1 })).ports.write;
        const admin = await lab.connect(lab.db1, { ...ADMIN_ACCOUNT, database: '' });
        await admin.query('create database test');
        // The tests are older than today's default.
        await admin.query("set global sql_mode = ''");
      });
      after(() => lab?.stop());

      it('pass through dbproxy where they pass directly', async (context) => {
        const direct = await passing(files, lab.db1.port);
        assert.ok(direct.passed.length >= LEAST_PASSING, report('direct', direct));
        const proxied = await passing(direct.passed, proxiedPort);
        assert.deepEqual(proxied.passed, direct.passed, report('proxied', proxied));
        context.diagnostic(`${direct.passed.length} of ${files.length} files pass both ways`);
      });
    });
  },
  // It is older than the authentication of MySQL 9.
  ['mariadb', 'mysql56'],
);

interface Outcome {
  passed: string[];
  failed: Map<string, string>;
}

/** One after the other: they share their tables. */
async function passing(names: readonly string[], port: number): Promise<Outcome> {
  const outcome: Outcome = { passed: [], failed: new Map() };
  const env = {
    ...process.env,
    CI: '1',
    MYSQL_HOST: '127.0.0.1',
    MYSQL_PORT: String(port),
    MYSQL_USER: ADMIN_ACCOUNT.user,
    MYSQL_PASSWORD: ADMIN_ACCOUNT.password,
    MYSQL_DATABASE: 'test',
  };
  for (const name of names) {
    const file = join(FOLDER, name);
    try {
      await run(process.execPath, ['--no-deprecation', file], { env, timeout: FILE_TIMEOUT_MS });
      outcome.passed.push(name);
    } catch (error) {
      outcome.failed.set(name, String((error as { stderr?: string }).stderr).slice(0, 1500));
    }
  }
  return outcome;
}

function report(side: string, { passed, failed }: Outcome): string {
  const failures = [...failed].map(([name, words]) => `${name}:\n${words}`);
  return `${side}: ${passed.length} passed\n${failures.join('\n')}`;
}
