/**
 * The house is built as its plan says: a file imports from its own folder and from lower layers only.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { layerViolations } from '../support/imports.ts';

suite('the direction of imports', () => {
  test('holds for every file of src', () => {
    const paths = globSync('**/*.ts', { cwd: 'src' });
    const files = paths.map((path) => ({ path, text: readFileSync(`src/${path}`, 'utf8') }));
    assert.ok(files.length > 10, 'src was found');
    assert.deepEqual(layerViolations(files), []);
  });

  const allowed = [
    ['a neighbour', 'sql/lexer.ts', `import { a } from './classify.ts';`],
    ['a lower layer', 'frontend/session.ts', `import { a } from '../base/clock.ts';`],
    ['a part of the command line', 'cli.ts', `import { a } from './cli/arguments.ts';`],
    ['a package', 'sql/lexer.ts', `import { a } from 'node:fs';`],
  ] as const;
  for (const [what, path, text] of allowed) {
    test(`allows ${what}`, () => assert.deepEqual(layerViolations([{ path, text }]), []));
  }

  const forbidden = [
    ['a higher layer', 'base/clock.ts', `import { a } from '../config/config.ts';`],
    ['another room of the same layer', 'admin/server.ts', `import { a } from '../frontend/session.ts';`],
    ['a type from a higher layer', 'sql/lexer.ts', `import type { A } from '../ipc/messages.ts';`],
    ['a re-export from a higher layer', 'base/clock.ts', `export { a } from '../ipc/messages.ts';`],
    ['an import over several lines', 'base/clock.ts', `import {\n  a,\n} from '../ipc/messages.ts';`],
    ['a dynamic import', 'base/clock.ts', `const a = await import('../worker.ts');`],
    ['an import for its effect', 'base/clock.ts', `import '../worker.ts';`],
    ['the other plane', 'worker.ts', `import { a } from './supervisor.ts';`],
    ['an import without .ts', 'sql/lexer.ts', `import { a } from './classify';`],
    ['a room that is not on the plan', 'cli.ts', `import { a } from './misc/all.ts';`],
    ['a file in no layer', 'misc/all.ts', ''],
    ['a file beside the entry', 'helpers.ts', ''],
    ['a barrel', 'sql/index.ts', ''],
  ] as const;
  for (const [what, path, text] of forbidden) {
    test(`refuses ${what}`, () => assert.equal(layerViolations([{ path, text }]).length, 1));
  }
});
