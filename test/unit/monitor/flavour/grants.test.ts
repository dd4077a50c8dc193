import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { grantStatements, type NeededPrivilege } from '../../../../src/monitor/flavour/setup.ts';
import { missingPrivileges, missingToGive } from '../../../../src/monitor/flavour/grants.ts';

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

describe('rights that are given to others', () => {
  const missing = (grants: string[], given: string[]): string[] =>
    missingToGive(grants, given).map(({ privilege, on }) => `${privilege} on ${on}`);

  test('are all held by who has everything, and may give it', () => {
    const all = 'GRANT ALL PRIVILEGES ON *.* TO `m`@`%` WITH GRANT OPTION';
    const given = [
      'GRANT USAGE ON *.* TO `app`@`%`',
      'GRANT ALL PRIVILEGES ON `shop`.* TO `app`@`%`',
      'GRANT SELECT (a), INSERT ON `shop`.`t` TO `b`@`%` WITH GRANT OPTION',
      "GRANT PROXY ON ''@'%' TO 'b'@'%'",
    ];
    assert.deepEqual(missing([all], given), []);
    assert.deepEqual(missing(['GRANT ALL PRIVILEGES ON *.* TO `m`@`%`'], given.slice(2, 3)), [
      'GRANT OPTION on shop.t',
    ]);
  });

  test('are named, where one is missing', () => {
    const some = 'GRANT SELECT, INSERT, CREATE USER ON *.* TO `m`@`%` WITH GRANT OPTION';
    assert.deepEqual(missing([some], ['GRANT SELECT, UPDATE ON `shop`.* TO `app`@`%`']), [
      'UPDATE on shop.*',
    ]);
    assert.ok(missing([some], ['GRANT ALL PRIVILEGES ON `shop`.* TO `app`@`%`']).includes('DROP on shop.*'));
    assert.deepEqual(missing([some], ['GRANT ALL PRIVILEGES ON *.* TO `boss`@`%`']), [
      'ALL PRIVILEGES on *.*',
    ]);
    assert.deepEqual(missing([some], ['GRANT USAGE ON *.* TO `app`@`%`']), []);
  });
});
