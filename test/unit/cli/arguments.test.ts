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
    assert.deepEqual(command, { name: 'doctor', config: 'x.conf', batch: true, vip: false });
    assert.deepEqual(parseCommandLine(['doctor', '--vip']), {
      name: 'doctor',
      config: undefined,
      batch: false,
      vip: true,
    });
  });

  test('takes the addresses of a pair for init', () => {
    assert.deepEqual(parseCommandLine(['init', '--hosts=10.0.0.1, 10.0.0.2', '--vip=10.0.0.100/24']), {
      name: 'init',
      hosts: ['10.0.0.1', '10.0.0.2'],
      vips: ['10.0.0.100/24'],
      directory: '/etc/dbproxy',
    });
  });

  for (const [words, complaint] of [
    [['--vip=10.0.0.9'], /--hosts=IP,IP names/],
    [['--hosts=10.0.0.1', '--vip=10.0.0.9'], /--hosts=IP,IP names/],
    [['--hosts=10.0.0.1,db2', '--vip=10.0.0.9'], /'db2' is not an IP address/],
    [['--hosts=10.0.0.1,10.0.0.2'], /--vip=IP\[,IP\] names/],
  ] as const) {
    test(`refuses init ${words.join(' ')}`, () => {
      const command = parseCommandLine(['init', ...words]);
      assert.match(command.name === 'usage' ? command.complaint : '', complaint);
    });
  }

  test('takes a statement that begins like an option after --', () => {
    const command = parseCommandLine(['admin', '--', '-- a comment']);
    assert.equal(command.name === 'admin' && command.statement, '-- a comment');
  });

  test('takes the number of the host for keepalived config', () => {
    assert.deepEqual(parseCommandLine(['keepalived', 'config', '--host', '2', '--config', 'x.conf']), {
      name: 'keepalived-config',
      config: 'x.conf',
      host: 2,
    });
    assert.deepEqual(parseCommandLine(['keepalived', 'check']), {
      name: 'keepalived-check',
      config: undefined,
    });
  });

  test('takes the state and the addresses for keepalived notify', () => {
    const said = ['keepalived', 'notify', '--config', 'x.conf'];
    assert.deepEqual(
      parseCommandLine([...said, '--state=MASTER', '--vip=10.0.0.9,fd00::1', '--gw=10.0.0.254']),
      {
        name: 'keepalived-notify',
        config: 'x.conf',
        state: 'master',
        vips: ['10.0.0.9', 'fd00::1'],
      },
    );
    const check = { name: 'keepalived-check', config: 'x.conf', gateway: '10.0.0.254' };
    assert.deepEqual(parseCommandLine([...said, '--state=check', '--gw=10.0.0.254']), check);
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
    [['keepalived', 'chek'], /has no 'chek'; did you mean 'check'/],
    [['keepalived', 'config', '--host', '3'], /--host is 1 or 2, not '3'/],
    [['keepalived', 'check', '--host', '1'], /check has no --host/],
    [['keepalived', 'notify'], /--state=master\|backup\|fault\|check\|status is missing/],
    [['keepalived', 'notify', '--state=mastre', '--vip=10.0.0.1'], /'mastre' is none.*did you mean 'master'/],
    [['keepalived', 'notify', '--state=master'], /--vip=IP\[,IP\] is missing/],
    [['keepalived', 'notify', '--state=fault', '--vip=10.0.0.1,db1'], /'db1' is not an IP address/],
    [['keepalived', 'notify', '--state=check', '--gw=router'], /--gw=router is not an IP address/],
    [['keepalived', 'config', '--vip=10.0.0.1'], /config has no --vip/],
    [['run', '--host', '1'], /run has no --host/],
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
      ['init', 'run', 'check-config', 'doctor', 'demo', 'admin', 'keepalived', 'version'],
    );
    for (const name of names) assert.equal(parseCommandLine([name, '--help']).name, 'help', name);
  });
});
