import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { grantStatements, type NeededPrivilege } from '../../../src/monitor/flavour/setup.ts';
import { missingPrivileges } from '../../../src/setup/grants.ts';

function need(privilege: string, on = '*.*'): NeededPrivilege {
  return { privilege, on, why: 'to test' };
}

describe('grants', () => {
  const cases: [what: string, grants: string[], needed: NeededPrivilege[], missing: string[]][] = [
    ['by name', ['GRANT RELOAD, PROCESS ON *.* TO `m`@`%`'], [need('PROCESS'), need('SUPER')], ['SUPER']],
    [
      'of all privileges',
      ["GRANT ALL PRIVILEGES ON *.* TO 'm'@'%'"],
      [need('SUPER'), need('SELECT', 'a.b')],
      [],
    ],
    [
      'of all privileges are not the right to give them',
      ["GRANT ALL PRIVILEGES ON *.* TO 'm'@'%'"],
      [need('GRANT OPTION')],
      ['GRANT OPTION'],
    ],
    [
      'with the right to give them',
      ["GRANT USAGE ON *.* TO 'm'@'%' WITH GRANT OPTION"],
      [need('GRANT OPTION')],
      [],
    ],
    [
      'on a schema hold for its tables',
      ['GRANT SELECT ON `mysql`.* TO `m`@`%`'],
      [need('SELECT', 'mysql.user')],
      [],
    ],
    [
      'on a table hold for no other',
      ['GRANT SELECT ON `mysql`.`db` TO `m`@`%`'],
      [need('SELECT', 'mysql.user')],
      ['SELECT'],
    ],
    [
      'on one schema do not hold everywhere',
      ['GRANT SELECT ON `shop`.* TO `m`@`%`'],
      [need('SELECT')],
      ['SELECT'],
    ],
    [
      'on columns are read',
      ['GRANT SELECT (a, b), INSERT ON `x`.`y` TO `m`@`%`'],
      [need('INSERT', 'x.y')],
      [],
    ],
    [
      'with a password behind',
      ["GRANT SUPER ON *.* TO 'm'@'%' IDENTIFIED BY PASSWORD '*AB'"],
      [need('SUPER')],
      [],
    ],
    [
      'of SUPER include what MySQL split from it',
      ['GRANT SUPER ON *.* TO `m`@`%`'],
      [need('CONNECTION_ADMIN')],
      [],
    ],
    [
      'of SUPER do not include what MariaDB split from it',
      ['GRANT SUPER ON *.* TO `m`@`%`'],
      [need('READ_ONLY ADMIN')],
      ['READ_ONLY ADMIN'],
    ],
    ['of a role give nothing by themselves', ['GRANT `operator` TO `m`@`%`'], [need('SUPER')], ['SUPER']],
    [
      'of a proxy are passed over',
      ["GRANT PROXY ON ''@'%' TO 'm'@'%' WITH GRANT OPTION"],
      [need('GRANT OPTION')],
      ['GRANT OPTION'],
    ],
  ];
  for (const [what, grants, needed, missing] of cases) {
    test(what, () =>
      assert.deepEqual(
        missingPrivileges(grants, needed).map(({ privilege }) => privilege),
        missing,
      ),
    );
  }

  test('are written as one statement a place, the option behind', () => {
    const needed = [need('SELECT', 'a.b'), need('SUPER'), need('GRANT OPTION'), need('PROCESS')];
    assert.deepEqual(grantStatements(needed, "o'neil"), [
      "GRANT SELECT ON a.b TO 'o''neil'@'%'",
      "GRANT SUPER, PROCESS ON *.* TO 'o''neil'@'%' WITH GRANT OPTION",
    ]);
  });
});
