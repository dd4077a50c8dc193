/** keepalived's question has no time to load what it does not need. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const SRC = join(import.meta.dirname, '../../../src');

/** All that is loaded with a file of src, as far as imports at the top say it: files, and packages by their names. */
function loadedWith(file: string, loaded = new Set<string>()): Set<string> {
  if (loaded.has(file)) return loaded;
  loaded.add(file);
  const text = readFileSync(file, 'utf8');
  for (const [, target] of text.matchAll(/^(?:import|export)\s(?!type\b)(?:[^;]*?from\s*)?'([^']+)';$/gm)) {
    if (target!.startsWith('.')) loadedWith(join(file, '..', target!), loaded);
    else loaded.add(target!);
  }
  return loaded;
}

test('keepalived check loads no package, and no other command', () => {
  const loaded = [
    ...loadedWith(join(SRC, 'cli.ts')),
    ...loadedWith(join(SRC, 'cli/keepalived-check.ts')),
  ].map((name) => name.replace(`${SRC}/`, ''));
  assert.ok(loaded.includes('keepalived/check.ts') && loaded.includes('node:net'), 'imports were read');
  assert.deepEqual(
    loaded.filter((name) => !name.startsWith('node:') && !name.endsWith('.ts')),
    [],
  );
  for (const other of ['cli/program.ts', 'base/errors.ts', 'node:cluster']) {
    assert.ok(!loaded.includes(other), other);
  }
});

test('other commands do load packages', () => {
  assert.ok(loadedWith(join(SRC, 'cli/explain.ts')).has('@fastify/error'));
});
