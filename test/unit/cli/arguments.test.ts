import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseCommandLine } from '../../../src/cli/arguments.ts';

suite('the command line', () => {
  test('takes --config in both spellings', () => {
    const wanted = { name: 'run', config: 'a.conf' };
    assert.deepEqual(parseCommandLine(['run', '--config', 'a.conf']), wanted);
    assert.deepEqual(parseCommandLine(['run', '--config=a.conf']), wanted);
    assert.deepEqual(parseCommandLine(['run']), { name: 'run', config: undefined });
  });

  test('takes one statement for admin', () => {
    assert.deepEqual(parseCommandLine(['admin', '--batch', 'SHOW BACKENDS']), {
      name: 'admin',
      config: undefined,
      batch: true,
      statement: 'SHOW BACKENDS',
    });
  });

  test('takes a configuration for doctor, and the wish for a table', () => {
    const command = parseCommandLine(['doctor', '--config', 'x.conf', '--batch']);
    assert.deepEqual(command, { name: 'doctor', config: 'x.conf', batch: true });
  });

  test('takes a statement that begins like an option after --', () => {
    const command = parseCommandLine(['admin', '--', '-- a comment']);
    assert.equal(command.name === 'admin' && command.statement, '-- a comment');
  });

  const complaints: [string[], RegExp][] = [
    [[], /a command is missing/],
    [['rnu'], /no command 'rnu'/],
    [['run', '--confg', 'x'], /--confg/],
    [['run', '--config'], /--config/],
    [['run', 'x'], /what is 'x'/],
    [['demo', '--config', 'x'], /demo has no --config/],
    [['run', '--batch'], /run has no --batch/],
    [['admin'], /STATEMENT is missing/],
    [['admin', 'SHOW', 'BACKENDS'], /quote a statement/],
    [['keepalived'], /check\|notify\|config is missing/],
  ];
  for (const [argv, complaint] of complaints) {
    test(`refuses '${argv.join(' ')}' and says why`, () => {
      const command = parseCommandLine(argv);
      assert.equal(command.name, 'usage');
      assert.match(command.name === 'usage' ? command.complaint : '', complaint);
    });
  }

  test('has help for the whole and for each command that the whole names', () => {
    const overview = parseCommandLine(['--help']);
    assert.equal(overview.name, 'help');
    const names = [...(overview.name === 'help' ? overview.text : '').matchAll(/^ {2}dbproxy (\S+)/gm)].map(
      (m) => m[1]!,
    );
    assert.deepEqual(
      names.filter((name) => name !== 'start'),
      ['run', 'check-config', 'doctor', 'demo', 'admin', 'keepalived', 'version'],
    );
    for (const name of names) assert.equal(parseCommandLine([name, '--help']).name, 'help', name);
  });
});
