/**
 * What the npm scripts do before the program runs, on a machine whose own Node.js works while the one among the npm
 * packages does not: a bare Debian lacks a library of it.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';

const NOBODY = 65_534;

/** A checkout without packages, whose `node_modules/.bin/node` is this shell script. */
function checkout(t: TestContext, nodeScript: string): string {
  const root = mkdtempSync(join(tmpdir(), 'dbproxy-launch-'));
  t.after(() => rmSync(root, { recursive: true }));
  cpSync('scripts', join(root, 'scripts'), { recursive: true });
  mkdirSync(join(root, 'node_modules', '.bin'), { recursive: true });
  for (const name of ['package-lock.json', 'node_modules/.package-lock.json'])
    writeFileSync(join(root, name), '{"packages":{}}');
  const node = join(root, 'node_modules', '.bin', 'node');
  writeFileSync(node, `#!/bin/sh\n${nodeScript}\n`);
  for (const path of [root, node]) chmodSync(path, 0o755);
  return root;
}

/** As npm calls it, by a user who may install nothing: our own Node.js is first in PATH. */
function launch(root: string): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync('sh', [join(root, 'scripts/launch.sh'), 'run', 'program.js'], {
    encoding: 'utf8',
    env: { PATH: `${join(root, 'node_modules', '.bin')}:/usr/local/bin:/usr/bin:/bin` },
    ...(process.getuid!() === 0 && { uid: NOBODY }),
  });
  return { status, output: `${stdout}${stderr}` };
}

suite('the launcher', () => {
  test('prepares with the Node.js of the machine and runs the program with its own', (t) => {
    const root = checkout(t, 'test "$1" = --version && echo v26.0.0 || echo "own runs $1"');
    assert.deepEqual(launch(root), { status: 0, output: 'own runs program.js\n' });
  });

  test('names the Debian package that its own Node.js lacks', (t) => {
    const root = checkout(
      t,
      'echo "node: error while loading shared libraries: libatomic.so.1: none" >&2; exit 127',
    );
    const { status, output } = launch(root);
    assert.equal(status, 69);
    assert.match(output, /as root: apt-get install --no-install-recommends libatomic1/);
  });

  test('says what is the matter with a Node.js that does not run', (t) => {
    const root = checkout(t, 'echo "of another kind of machine" >&2; exit 126');
    const { status, output } = launch(root);
    assert.equal(status, 69);
    assert.match(output, /does not run on this machine: of another kind of machine/);
  });
});
