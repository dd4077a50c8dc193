import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { isRefusal } from '../../../src/base/errors.ts';
import type { ProxyConfig } from '../../../src/config/config.ts';
import { vipKind } from '../../../src/config/virtual-addresses.ts';
import { fieldOf, keyRows, keysOf, type SectionKind } from '../../../src/config/keys.ts';
import {
  configNotes,
  loadConfig,
  loadConfigNotes,
  loadConfigOfRunning,
  parseConfig,
} from '../../../src/config/load.ts';
import type { ConfigContext } from '../../../src/config/section.ts';
import { configRows } from '../../../src/config/show.ts';
import { readValue } from '../../../src/config/values.ts';

const HASH = '*6BB4837EB74329105EE4568DDA7DC67ED2CA2AD9';

const context: ConfigContext = {
  file: 'proxy.conf',
  env: { APP_PASSWORD: 'from the environment' },
  readFile: (path) => {
    if (path !== 'secret.txt') throw new Error('no such file');
    return 'from a file\n';
  },
  cores: 4,
};

/** Sections of a file that is good, as text by heading. */
const goodSections: Readonly<Record<string, string>> = {
  '[admin]': 'user = admin\npassword = a',
  '[cluster main]':
    'monitor_user = m\nmonitor_password = mp\nreplication_user = r\nreplication_password = rp',
  '[backend db1]': 'cluster = main\naddress = 10.0.0.1:3306\nrw_weight = 1',
  '[listener write]': 'cluster = main\naddress = 10.0.0.9:3306',
  '[user app]': 'password = p',
};

/** A good file with `changes` in place of, or beside, its sections; undefined takes a section away. */
function fileWith(changes: Record<string, string | undefined> = {}): string {
  return Object.entries({ ...goodSections, ...changes })
    .filter(([, body]) => body !== undefined)
    .map(([heading, body]) => `${heading}\n${body}\n`)
    .join('\n');
}

/** A good file with more lines in one of its sections. */
function fileWithMore(heading: string, lines: string): string {
  return fileWith({ [heading]: [goodSections[heading], lines].filter((part) => part).join('\n') });
}

/** One more section: a split endpoint. */
const SPLIT = { '[listener split]': 'cluster = main\naddress = 10.0.0.9:3307\nmode = split' } as const;

function problemsOf(text: string): string {
  try {
    parseConfig(text, context);
  } catch (error) {
    assert.ok(isRefusal(error));
    assert.equal(error.code, 'DBPROXY_CONFIG');
    return error.message;
  }
  return 'no problem';
}

describe('a good file', () => {
  test('is read with the defaults of what it does not say', () => {
    const expected: ProxyConfig = {
      dbproxy: {
        stateDir: '/var/lib/dbproxy',
        workers: 4,
        logLevel: 'info',
        logFormat: 'json',
        shutdownTimeoutMs: 30_000,
        digestLimit: 1000,
        rememberPasswords: true,
        rememberedLogins: 10_000,
      },
      admin: {
        address: { kind: 'tcp', host: '127.0.0.1', port: 6032 },
        user: 'admin',
        password: 'a',
        allow: ['127.0.0.0/8', '::1'],
      },
      http: { address: { kind: 'tcp', host: '127.0.0.1', port: 9104 }, allow: [], dashboard: false },
      clusters: [
        {
          name: 'main',
          monitorUser: 'm',
          monitorPassword: 'mp',
          replicationUser: 'r',
          replicationPassword: 'rp',
          checkIntervalMs: 1000,
          checkFastIntervalMs: 250,
          checkTimeoutMs: 1000,
          checkLoginIntervalMs: 30_000,
          rise: 2,
          fall: 3,
          maxLagMs: 10_000,
          readmitLagMs: 5000,
          lagSource: 'auto',
          heartbeatIntervalMs: 250,
          writeCheck: false,
          arbiter: [],
          arbiterLeaseMs: 3_000,
          failover: 'manual',
          failoverCooldownMs: 600_000,
          failoverData: 'wait',
          rejoin: 'auto',
          enforceReadOnly: true,
          catchUpTimeoutMs: 30_000,
          holdTimeoutMs: 10_000,
          transactionGraceMs: 5000,
          semiSync: 'require',
          users: 'import',
          usersIntervalMs: 30_000,
        },
      ],
      backends: [
        {
          name: 'db1',
          cluster: 'main',
          address: { kind: 'tcp', host: '10.0.0.1', port: 3306 },
          rwWeight: 1,
          roWeight: 1,
          roWeightSet: false,
          maxConnections: 200,
          poolIdleTimeoutMs: 300_000,
          connectTimeoutMs: 2_000,
          tls: 'off',
          proxyProtocol: 'off',
          compression: 'off',
          follow: false,
        },
      ],
      listeners: [
        {
          name: 'write',
          cluster: 'main',
          address: { kind: 'tcp', host: '10.0.0.9', port: 3306 },
          mode: 'write',
          pool: 'session',
          balance: 'weighted_round_robin',
          causalReads: 'off',
          causalTimeoutMs: 1000,
          maxConnections: 10_000,
          queueTimeoutMs: 10_000,
          idleTimeoutMs: 28_800_000,
          handshakeTimeoutMs: 10_000,
          drainTimeoutMs: 30_000,
          allow: [],
          proxyProtocolFrom: [],
          tls: 'off',
          compression: true,
          pipelining: 'off',
          pipelineDepth: 16,
          pipelineThresholdMs: 1,
          maxPreparedStatements: 1000,
          statementCache: 100,
          sessionMoves: true,
          markCommits: false,
        },
      ],
      users: [{ name: 'app', password: 'p', allow: [], maxConnections: 0, listeners: [] }],
      rules: [],
      keepalived: {
        vip: [],
        hosts: [],
        unicast: false,
        virtualRouterId: 51,
        instance: 'vi_dbproxy_51',
        priority: 100,
        advertIntMs: 1000,
        vipLayout: 'together',
        checkTimeoutMs: 400,
        notifyTimeoutMs: 10_000,
      },
    };
    assert.deepEqual(parseConfig(fileWith(), context), expected);
  });

  test('says on a terminal that the log is pretty, unless it says json', () => {
    const onTerminal = { ...context, terminal: true };
    assert.equal(parseConfig(fileWith(), onTerminal).dbproxy.logFormat, 'pretty');
    const json = fileWith({ '[dbproxy]': 'log_format = json' });
    assert.equal(parseConfig(json, onTerminal).dbproxy.logFormat, 'json');
  });

  test('knows whether ro_weight was written', () => {
    const config = parseConfig(fileWithMore('[backend db1]', 'ro_weight = 1'), context);
    assert.equal(config.backends[0]!.roWeightSet, true);
  });

  test('has readmit_lag at half of the max_lag it writes', () => {
    const config = parseConfig(fileWithMore('[cluster main]', 'max_lag = 3s'), context);
    assert.equal(config.clusters[0]!.readmitLagMs, 1500);
  });
});

describe('a secret', () => {
  const sources: [written: string, secret: string][] = [
    ['password = plain', 'plain'],
    ['password = env:APP_PASSWORD', 'from the environment'],
    ["password = 'env:APP_PASSWORD'", 'env:APP_PASSWORD'],
    ['password_file = secret.txt', 'from a file'],
    ["password = ''", ''],
  ];
  for (const [written, secret] of sources) {
    test(`may be written ${written}`, () => {
      const [user] = parseConfig(fileWith({ '[user app]': written }), context).users;
      assert.equal(user!.password, secret);
    });
  }

  test('of a user is not needed where accounts are imported, and no user is', () => {
    const added = parseConfig(fileWith({ '[user app]': 'max_connections = 1' }), context);
    assert.deepEqual(added.users, [{ name: 'app', allow: [], maxConnections: 1, listeners: [] }]);
    assert.deepEqual(parseConfig(fileWith({ '[user app]': undefined }), context).users, []);
  });

  const hashes = [
    '$A$005$salt-of-twenty-bytesdigest',
    '$5$salt$digest',
    '0x24412430303524',
    'ZtJ6wxKSBZ1sybxZSBnBgPpsbsmNz12Zxcj6GR1mPOY',
  ];
  for (const hash of hashes) {
    test(`may be the hash ${hash}`, () => {
      assert.equal(parseConfig(fileWith({ '[user app]': `auth = ${hash}` }), context).users[0]!.auth, hash);
    });
  }

  test('may be a hash', () => {
    const [user] = parseConfig(fileWith({ '[user app]': `auth = ${HASH}` }), context).users;
    assert.equal(user!.auth, HASH);
    assert.equal('password' in user!, false);
  });
});

describe('a problem is told with its line', () => {
  const cases: [what: string, file: string, told: RegExp][] = [
    [
      'unknown section',
      fileWith({ '[clustre x]': '' }),
      /\[clustre x\]: there is no such section; did you mean 'cluster'\?/,
    ],
    [
      'unknown key',
      fileWithMore('[backend db1]', 'rw_weigth = 1'),
      /^proxy\.conf:15: \[backend db1\] rw_weigth: there is no such key in \[backend\]; did you mean 'rw_weight'\?$/m,
    ],
    [
      'key given twice',
      fileWithMore('[cluster main]', 'rise = 1\nrise = 2'),
      /:11: \[cluster main\] rise: is given twice, first on line 10/,
    ],
    [
      'secret given in two ways',
      fileWith({ '[user app]': 'password = a\npassword_file = secret.txt' }),
      /password_file: password is given twice/,
    ],
    [
      'section given twice',
      `${fileWith()}\n[backend db1]\n`,
      /:\d+: \[backend db1\]: is given twice, first on line 11/,
    ],
    ['section without its name', fileWith({ '[backend]': '' }), /\[backend\]: needs a name/],
    ['section with a name too many', fileWith({ '[http x]': '' }), /\[http x\]: takes no name/],
    ['name with other characters', fileWith({ '[backend a b]': '' }), /\[backend a b\]: a name has letters/],
    ['required key missing', fileWith({ '[admin]': 'user = admin' }), /:1: \[admin\] password: is missing/],
    [
      'required section missing',
      fileWith({ '[admin]': undefined }),
      /:1: \[admin\] user: is missing[^]*:1: \[admin\] password: is missing/,
    ],
    [
      'no user with users = file',
      fileWithMore('[cluster main]', 'users = file').replace(/\[user app\]\n.*\n/, ''),
      /\[user NAME\]: there is none/,
    ],
    ['no listener', fileWith({ '[listener write]': undefined }), /\[listener NAME\]: there is none/],
    [
      'cluster without backend',
      fileWithMore('[cluster main]', '').replace(
        'cluster = main\naddress = 10.0.0.1',
        'cluster = man\naddress = 10.0.0.1',
      ),
      /\[cluster main\]: has no \[backend NAME\] with cluster = main/,
    ],
    [
      'unknown cluster',
      fileWith({ '[listener write]': 'cluster = mian\naddress = 1.1.1.1:1' }),
      /\[listener write\] cluster: there is no \[cluster mian\]; did you mean 'main'\?/,
    ],
    [
      'unknown listener',
      fileWithMore('[user app]', 'listeners = write, raed'),
      /\[user app\] listeners: there is no \[listener raed\]/,
    ],
    [
      'lags in the wrong order',
      fileWithMore('[cluster main]', 'max_lag = 1s\nreadmit_lag = 2s'),
      /:11: \[cluster main\] readmit_lag: readmit_lag = 2s must not be above max_lag = 1s/,
    ],
    [
      'intervals in the wrong order',
      fileWithMore('[cluster main]', 'check_interval = 100ms'),
      /:10: \[cluster main\] check_interval: check_fast_interval = 250ms must not be above check_interval = 100ms/,
    ],
    [
      'user without secret with users = file',
      fileWithMore('[cluster main]', 'users = file').replace('password = p\n', 'max_connections = 1\n'),
      /\[user app\] password: is missing, and auth too/,
    ],
    [
      'user with two secrets',
      fileWithMore('[user app]', `auth = ${HASH}`),
      /\[user app\] auth: password is given too/,
    ],
    [
      'hash that is none',
      fileWith({ '[user app]': 'auth = 6BB4' }),
      /\[user app\] auth: does not look like \* and 40 hexadecimal digits/,
    ],
    [
      'two listeners on one address',
      fileWith({ '[listener read]': 'cluster = main\naddress = 0.0.0.0:3306\nmode = read' }),
      /\[listener read\] address: 0\.0\.0\.0:3306 is taken by \[listener write\] \(10\.0\.0\.9:3306\)/,
    ],
    [
      'a listener on the admin port',
      fileWith({ '[listener read]': 'cluster = main\naddress = [::]:6032' }),
      /\[listener read\] address: \[::\]:6032 is taken by \[admin\]/,
    ],
    [
      'two backends at one address',
      fileWith({ '[backend db2]': 'cluster = main\naddress = 10.0.0.1:3306' }),
      /\[backend db2\] address: 10\.0\.0\.1:3306 is taken by \[backend db1\]/,
    ],
    [
      'a backend that is a listener',
      fileWith({ '[backend db2]': 'cluster = main\naddress = 10.0.0.9:3306' }),
      /\[backend db2\] address: 10\.0\.0\.9:3306 is where \[listener write\] itself listens/,
    ],
    [
      'secret file that is not there',
      fileWith({ '[user app]': 'password_file = gone.txt' }),
      /\[user app\] password: the file 'gone\.txt' cannot be read: no such file/,
    ],
    [
      'variable that is not there',
      fileWith({ '[user app]': 'password = env:GONE' }),
      /the environment has no variable 'GONE'/,
    ],
    [
      'a secret with a comment behind it',
      fileWith({ '[user app]': 'password = a # b' }),
      /put the value in quotes/,
    ],
    [
      'fall of 0',
      fileWithMore('[cluster main]', 'fall = 0'),
      /\[cluster main\] fall: '0' is not a whole number from 1/,
    ],
    [
      'automatic failover without an arbiter, with servers on other hosts',
      fileWithMore('[cluster main]', 'failover = auto'),
      /^proxy\.conf:10: \[cluster main\] failover: auto needs an arbiter, as \[backend db1\] is on another host/m,
    ],
    [
      'an etcd by name',
      fileWithMore('[cluster main]', 'arbiter = ping:10.0.0.1, etcd:http://10.0.0.3:2379,https://third:2379'),
      /arbiter: 'https:\/\/third:2379' is not a URL such as http:\/\/10\.0\.0\.1:2379, with an IP address/,
    ],
    [
      'an etcd with its password in the URL, which is not repeated',
      fileWithMore('[cluster main]', 'arbiter = etcd:http://root:hush@10.0.0.3:2379'),
      /arbiter: a URL of etcd has an account in it; write etcd_user and etcd_password instead/,
    ],
    [
      'two etcds',
      fileWithMore('[cluster main]', 'arbiter = etcd:http://10.0.0.3:2379, etcd:http://10.0.0.4:2379'),
      /arbiter: there is more than one etcd; its members are one list: etcd:URL,URL/,
    ],
    [
      'an account at no etcd',
      fileWithMore('[cluster main]', 'etcd_user = dbproxy'),
      /etcd_user: is of arbiter = etcd:URL only, and there is none/,
    ],
    [
      'an account at etcd without a password',
      fileWithMore('[cluster main]', 'arbiter = etcd:http://10.0.0.3:2379\netcd_user = dbproxy'),
      /etcd_user: is given without etcd_password/,
    ],
    [
      'authorities for an etcd without TLS',
      fileWithMore('[cluster main]', 'arbiter = etcd:http://10.0.0.3:2379\netcd_ca = ca.pem'),
      /etcd_ca: is of https:\/\/… only/,
    ],
    [
      'a lease that is too short',
      fileWithMore('[cluster main]', 'arbiter = etcd:http://10.0.0.3:2379\narbiter_lease = 2s'),
      /arbiter_lease: '2s' is below the least, 3s/,
    ],
    [
      'an arbiter by name',
      fileWithMore('[cluster main]', 'arbiter = ping:gateway'),
      /arbiter: 'ping:gateway' does not name an IP address/,
    ],
    [
      'an arbiter without a port',
      fileWithMore('[cluster main]', 'arbiter = tcp:10.0.0.1'),
      /arbiter: 'tcp:10\.0\.0\.1' does not name an IP address and a port/,
    ],
    [
      'no arbiter among others',
      fileWithMore('[cluster main]', 'arbiter = none, ping:10.0.0.1'),
      /arbiter: 'none' stands alone/,
    ],
    [
      'an arbiter twice',
      fileWithMore('[cluster main]', 'arbiter = ping:10.0.0.1, ping:10.0.0.1'),
      /arbiter: 'ping:10\.0\.0\.1' is given twice/,
    ],
    [
      'a follower with a weight',
      fileWithMore('[backend db1]', 'follow = on'),
      /\[backend db1\] rw_weight: 1 does not go with follow = on, which takes no traffic/,
    ],
    [
      'a channel whose name is no word',
      fileWithMore('[backend db1]', "channel = d'r"),
      /\[backend db1\] channel: 'd'r' has other characters/,
    ],
    [
      'a value of a later version',
      fileWith({ '[http]': 'dashboard = on' }),
      /\[http\] dashboard = on is not available in this version; available: off$/m,
    ],
    [
      'a value of no version',
      fileWithMore('[cluster main]', 'rejoin = maybe'),
      /'maybe' is none of auto, report, off/,
    ],
    [
      'a certificate of the admin port without its key',
      fileWithMore('[admin]', 'tls_cert = /x'),
      /^proxy\.conf:4: \[admin\] tls_cert: is given without tls_key$/m,
    ],
    [
      'half a [peer]',
      fileWith({ '[peer]': 'address = 10.0.0.2:6032, 10.0.0.1:6032' }),
      /\[peer\] user: is missing[^]*\[peer\] password: is missing[^]*address: needs vip in \[keepalived\]/,
    ],
    [
      'a [peer] that is no address, with the account of operators',
      fileWith({ '[peer]': 'address = nowhere\nuser = admin\npassword = a' }),
      /\[peer\] address: 'nowhere' is not an address[^]*\[peer\] user: is that of \[admin\]/,
    ],
  ];
  for (const [what, file, told] of cases) test(what, () => assert.match(problemsOf(file), told));

  test('all at once, in the order of the lines', () => {
    const told = problemsOf('[dbproxy]\nworkers = 0\nlog_levle = info\n[cluster main]\nmonitor_user = m\n');
    const lines = [...told.matchAll(/^proxy\.conf:(\d+):/gm)].map((match) => Number(match[1]));
    assert.ok(lines.length >= 6, told);
    assert.deepEqual(
      lines,
      lines.toSorted((one, other) => one - other),
    );
  });

  test('without the secrets', () => {
    const file = fileWith({ '[user app]': 'auth = hunter2', '[admin]': 'user = a\npassword = hunter2 # x' });
    assert.doesNotMatch(problemsOf(file), /hunter2/);
  });
});

test('ports may be shared by different addresses', () => {
  const file = fileWith({ '[listener read]': 'cluster = main\naddress = 10.0.0.10:3306\nmode = read' });
  assert.equal(problemsOf(file), 'no problem');
});

describe('a split endpoint', () => {
  const splitWith = (lines: string): string => `${SPLIT['[listener split]']}\n${lines}`;

  test('has all that the file says of pooling, causal reads and sharing', () => {
    const lines = [
      'pool = transaction',
      'causal_reads = global',
      'causal_timeout = 250ms',
      'pipelining = adaptive',
      'pipeline_depth = 4',
      'pipeline_threshold = 2ms',
      'max_prepared_statements = 20',
      'statement_cache = 7',
    ];
    const config = parseConfig(fileWith({ '[listener split]': splitWith(lines.join('\n')) }), context);
    assert.partialDeepStrictEqual(config.listeners[1], {
      mode: 'split',
      pool: 'transaction',
      causalReads: 'global',
      causalTimeoutMs: 250,
      pipelining: 'adaptive',
      pipelineDepth: 4,
      pipelineThresholdMs: 2,
      maxPreparedStatements: 20,
      statementCache: 7,
    });
  });

  const refused: [string, string, RegExp][] = [
    [
      'causal reads where every statement is on the primary',
      fileWithMore('[listener write]', 'causal_reads = session'),
      /^proxy\.conf:19: \[listener write\] causal_reads: session has no meaning with mode = write/m,
    ],
    [
      'names of commits where nothing is committed',
      fileWith({
        '[listener read]': 'cluster = main\naddress = 0.0.0.0:3307\nmode = read\nmark_commits = on',
      }),
      /\[listener read\] mark_commits: on has no meaning with mode = read/m,
    ],
    [
      'pipelining on connections that belong to one session',
      fileWith({ '[listener split]': splitWith('pipelining = on') }),
      /\[listener split\] pipelining: on needs pool = transaction$/m,
    ],
    [
      'pipelining of writes',
      fileWithMore('[listener write]', 'pipelining = adaptive'),
      /\[listener write\] pipelining: adaptive needs pool = transaction and mode = split or mode = read$/m,
    ],
    [
      'a shared connection for one statement',
      fileWith({ '[listener split]': splitWith('pipeline_depth = 1') }),
      /pipeline_depth: '1' is not a whole number from 2/,
    ],
    [
      'a word that pool does not have',
      fileWith({ '[listener split]': splitWith('pool = statement') }),
      /pool: 'statement' is none of session, transaction/,
    ],
  ];
  for (const [what, file, told] of refused)
    test(`is not given ${what}`, () => assert.match(problemsOf(file), told));

  test('reads with causal reads and pipelining are possible on a read endpoint', () => {
    const lines = 'mode = read\npool = transaction\ncausal_reads = global\npipelining = on';
    const file = fileWith({ '[listener read]': `cluster = main\naddress = 10.0.0.10:3306\n${lines}` });
    assert.equal(problemsOf(file), 'no problem');
  });
});

describe('rules', () => {
  test('are in the order of the file, their digests in lower case', () => {
    const file = fileWith({
      ...SPLIT,
      '[rule reports]': 'user = reporting\ntarget = replica',
      '[rule one]': 'listener = split\ndigest = 0x00FF00FF00FF00FF\ntarget = primary',
    });
    assert.deepEqual(parseConfig(file, context).rules, [
      { name: 'reports', user: 'reporting', target: 'replica' },
      { name: 'one', listener: 'split', digest: '0x00ff00ff00ff00ff', target: 'primary' },
    ]);
  });

  const refused: [string, Record<string, string>, RegExp][] = [
    [
      'without a condition',
      { ...SPLIT, '[rule r]': 'target = primary' },
      /^proxy\.conf:\d+: \[rule r\]: says for no statement: at least one of user, listener, digest is needed$/m,
    ],
    ['without a target', { ...SPLIT, '[rule r]': 'user = a' }, /\[rule r\] target: is missing/],
    [
      'with a target that is none',
      { ...SPLIT, '[rule r]': 'user = a\ntarget = both' },
      /\[rule r\] target: 'both' is none of primary, replica/,
    ],
    [
      'for a listener that there is not',
      { ...SPLIT, '[rule r]': 'listener = splt\ntarget = primary' },
      /\[rule r\] listener: there is no \[listener splt\]; did you mean/,
    ],
    [
      'for a listener that has no choice',
      { ...SPLIT, '[rule r]': 'listener = write\ntarget = primary' },
      /\[rule r\] listener: \[listener write\] has mode = write; rules are for listeners with mode = split/,
    ],
    [
      'where nothing is split',
      { '[rule r]': 'user = a\ntarget = primary' },
      /\[rule r\]: no listener has mode = split, so it would never be looked at/,
    ],
    [
      'with a digest that is none',
      { ...SPLIT, '[rule r]': 'digest = 0xff\ntarget = primary' },
      /\[rule r\] digest: '0xff' is not 0x and 16 hexadecimal digits; SHOW DIGESTS/,
    ],
    [
      'without a name',
      { ...SPLIT, '[rule]': 'user = a\ntarget = primary' },
      /\[rule\]: needs a name: \[rule NAME\]/,
    ],
  ];
  for (const [what, sections, told] of refused)
    test(`are refused ${what}`, () => assert.match(problemsOf(fileWith(sections)), told));
});

describe('automatic failover', () => {
  const auto = 'failover = auto';

  test('needs an arbiter, and one is enough', () => {
    const file = fileWithMore('[cluster main]', `${auto}\narbiter = ping:10.0.0.254, tcp:[2001:db8::1]:80`);
    const [cluster] = parseConfig(file, context).clusters;
    assert.deepEqual(cluster?.arbiter, ['ping:10.0.0.254', 'tcp:[2001:db8::1]:80']);
    assert.equal(cluster?.failover, 'auto');
  });

  test('needs none where all servers are on this host', () => {
    for (const address of ['127.0.0.1:3306', 'unix:/run/mysqld.sock', '[::1]:3306', 'localhost:3306']) {
      const backend = `cluster = main\naddress = ${address}\nrw_weight = 1`;
      const file = fileWithMore('[cluster main]', auto).replace(goodSections['[backend db1]']!, backend);
      assert.equal(problemsOf(file), 'no problem', address);
    }
  });
});

test('a follower has no share of the reads, and a channel of its own', () => {
  const follower = 'cluster = main\naddress = 10.0.0.2:3306\nfollow = on\nchannel = dr';
  const [, backend] = parseConfig(fileWith({ '[backend far]': follower }), context).backends;
  assert.deepEqual([backend?.follow, backend?.roWeight, backend?.channel], [true, 0, 'dr']);
});

describe('notes', () => {
  test('tell of a default that is not the usual one, until the file writes it', () => {
    const told = (file: string): boolean =>
      configNotes(file, context).some((note) => note.startsWith('[http] dashboard is off'));
    assert.equal(told(fileWith()), true);
    assert.equal(told(fileWith({ '[http]': 'dashboard = off' })), false);
  });

  test('tell of a write listener whose cluster can have no primary', () => {
    const told = (file: string): boolean =>
      configNotes(file, context).some((note) => note.startsWith('[listener write] is for writes, but'));
    assert.equal(told(fileWith()), false);
    assert.equal(told(fileWith().replace('rw_weight = 1', 'rw_weight = 0')), true);
  });
});

describe('the table of keys', () => {
  test('has a default of the right type for each key that has one', () => {
    for (const row of keyRows) {
      if (row.default === undefined) continue;
      assert.ok('value' in readValue(row.default, row.type), `${row.section}.${row.name}`);
    }
  });

  test('names each key once', () => {
    const names = keyRows.map((row) => `${row.section}.${row.name}`);
    assert.deepEqual(
      names.filter((name, index) => names.indexOf(name) !== index),
      [],
    );
  });

  test('has a row for every field of the configuration', () => {
    const config = parseConfig(fileWith({ ...SPLIT, '[rule r]': 'user = a\ntarget = primary' }), context);
    const parts: [SectionKind, object][] = [
      ['dbproxy', config.dbproxy],
      ['admin', config.admin],
      ['http', config.http],
      ['cluster', config.clusters[0]!],
      ['backend', config.backends[0]!],
      ['listener', config.listeners[0]!],
      ['user', config.users[0]!],
      ['rule', config.rules[0]!],
      ['keepalived', config.keepalived],
    ];
    for (const [kind, values] of parts) {
      const fields = keysOf(kind).map(fieldOf);
      const unknown = Object.keys(values).filter((field) => !fields.includes(field));
      assert.deepEqual(
        unknown.filter((field) => field !== 'name' && field !== 'roWeightSet'),
        [],
        kind,
      );
    }
  });
});

describe('SHOW CONFIG', () => {
  test('writes values as a file does and masks the secrets', () => {
    const rows = configRows(parseConfig(fileWith(), context));
    const shown = (section: string, key: string): string | undefined =>
      rows.find((row) => row.section === section && row.key === key)?.value;
    assert.equal(shown('[cluster main]', 'check_fast_interval'), '250ms');
    assert.equal(shown('[cluster main]', 'monitor_password'), '********');
    assert.equal(shown('[cluster main]', 'semi_sync'), 'require');
    assert.equal(shown('[cluster main]', 'arbiter'), 'none');
    assert.equal(shown('[cluster main]', 'heartbeat_interval'), '250ms');
    assert.equal(shown('[backend db1]', 'address'), '10.0.0.1:3306');
    assert.equal(shown('[user app]', 'password'), '********');
    assert.equal(shown('[http]', 'dashboard'), 'off');
    assert.equal(shown('[admin]', 'tls_cert'), undefined);
  });
});

describe('a file on disk', () => {
  test('is read, with secret files beside it', (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'dbproxy-config-'));
    t.after(() => rmSync(directory, { recursive: true }));
    writeFileSync(join(directory, 'app.password'), 'beside\n');
    const path = join(directory, 'proxy.conf');
    writeFileSync(
      path,
      fileWith({ '[user app]': 'password_file = app.password', '[dbproxy]': 'state_dir = state' }),
    );
    const config = loadConfig(path, {});
    assert.equal(config.users[0]!.password, 'beside');
    assert.equal(config.dbproxy.stateDir, join(directory, 'state'));
  });

  test('that is not there is a configuration error', () => {
    assert.throws(() => loadConfig('/nonexistent/proxy.conf', {}), { code: 'DBPROXY_CONFIG' });
  });

  test('proxy.conf.example has no errors and two backends', () => {
    const path = new URL('../../../proxy.conf.example', import.meta.url).pathname;
    const config = loadConfig(path, {});
    assert.deepEqual(
      config.backends.map(({ name, rwWeight }) => [name, rwWeight]),
      [
        ['db1', 2],
        ['db2', 1],
      ],
    );
    assert.ok(loadConfigNotes(path, {}).length > 0);
  });

  test('proxy.conf.example has each key of the proxy, with its default where it is commented out', () => {
    const text = readFileSync(new URL('../../../proxy.conf.example', import.meta.url), 'utf8');
    for (const { section, name, default: byDefault } of keyRows) {
      const line = new RegExp(`^#? ?${name} = (\\S+)`, 'm').exec(text);
      assert.ok(line !== null, `[${section}] ${name}`);
      if (section !== 'cluster' || byDefault === undefined || !line[0].startsWith('#')) continue;
      assert.equal(line[1], byDefault, `[${section}] ${name}`);
    }
  });
});

test('who talks to a running proxy reads the file whatever state its certificates are in', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dbproxy-config-'));
  const path = join(folder, 'proxy.conf');
  try {
    const tls = 'tls = preferred\ntls_cert = gone.pem\ntls_key = gone.key';
    writeFileSync(path, fileWithMore('[listener write]', tls));
    assert.throws(() => loadConfig(path, {}), { code: 'DBPROXY_CONFIG' });
    assert.equal(loadConfigOfRunning(path, {}).admin.user, parseConfig(fileWith(), context).admin.user);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('[keepalived]', () => {
  const VIPS = 'vip = 10.0.0.9/24, 10.0.0.10/24\ninterface = eth0';
  const READ = { '[listener read]': 'cluster = main\naddress = 10.0.0.10:3306\nmode = read' };
  const read = (more: string, vips = VIPS): string =>
    fileWith({ ...READ, '[keepalived]': `${vips}\n${more}` });

  test('is read, with the listeners that tell what each address is for', () => {
    const config = parseConfig(
      read('virtual_router_id = 73\nvip_layout = apart\nhosts = 10.0.0.1, 10.0.0.2'),
      context,
    );
    assert.equal(config.keepalived.instance, 'vi_dbproxy_73');
    assert.deepEqual(config.keepalived.hosts, ['10.0.0.1', '10.0.0.2']);
    assert.deepEqual(
      config.keepalived.vip.map((vip) => vipKind(vip, config.listeners)),
      ['write', 'read'],
    );
  });

  test('has IPv6 addresses in their usual form', () => {
    const config = parseConfig(
      fileWith({ '[keepalived]': 'vip = FD00:0::00a/64\ninterface = eth0' }),
      context,
    );
    assert.deepEqual(config.keepalived.vip, ['fd00::a/64']);
  });

  test('may have addresses that no listener has, which is told', () => {
    const file = fileWith({ '[keepalived]': 'vip = 10.0.0.77/24\ninterface = eth0' });
    assert.equal(problemsOf(file), 'no problem');
    assert.ok(
      configNotes(file, context).includes('[keepalived] vip 10.0.0.77/24: no listener has this address'),
    );
  });

  const cases: [what: string, file: string, told: RegExp][] = [
    [
      'a VIP without prefix',
      read('', 'vip = 10.0.0.9\ninterface = eth0'),
      /vip: '10\.0\.0\.9' has no prefix from 1 to 32/,
    ],
    [
      'a VIP that is none',
      read('', 'vip = 10.0.0.900/24\ninterface = eth0'),
      /'10\.0\.0\.900\/24' is not an address/,
    ],
    ['a VIP twice', read('', 'vip = fd00::1/64, fd00:0::1/64\ninterface = eth0'), /'fd00::1' is given twice/],
    ['no interface', read('', 'vip = 10.0.0.9/24'), /interface: is missing/],
    ['no VIP', read('', 'interface = eth0'), /vip: is missing; interface is for virtual addresses/],
    [
      'a misspelt key',
      read('virtual_router = 3'),
      /virtual_router: there is no such key.*did you mean 'virtual_router_id'/,
    ],
    ['a misspelt layout', read('vip_layout = appart'), /did you mean 'apart'/],
    [
      'an interface that is none',
      read('', 'vip = 10.0.0.9/24\ninterface = eth 0'),
      /not a network interface/,
    ],
    ['one host', read('hosts = 10.0.0.1'), /hosts: names the own addresses of two hosts/],
    ['unicast without hosts', read('unicast = on'), /unicast: on needs hosts/],
    ['hosts of another kind', read('unicast = on\nhosts = fd00::1, fd00::2'), /fd00::1 and the first vip/],
    ['a host at a VIP', read('hosts = 10.0.0.9, 10.0.0.2'), /10\.0\.0\.9 is a virtual address/],
    ['a gateway at a VIP', read('gateway = 10.0.0.10'), /10\.0\.0\.10 is a virtual address/],
    [
      'a gateway at a host',
      read('gateway = 10.0.0.2\nhosts = 10.0.0.1, 10.0.0.2'),
      /cannot tell whether it is cut off/,
    ],
    ['a gateway by name', read('gateway = router'), /'router' is not an IP address/],
    ['a time that VRRP cannot say', read('advert_int = 255ms'), /255ms is not a multiple of 10ms/],
    ['a time that is too long', read('advert_int = 1m'), /1m is not a multiple of 10ms up to 40950ms/],
    [
      'apart without a read VIP',
      read('vip_layout = apart', 'vip = 10.0.0.9/24\ninterface = eth0'),
      /apart needs a read VIP/,
    ],
    [
      'apart with the last id',
      read('vip_layout = apart\nvirtual_router_id = 255'),
      /apart needs the next id/,
    ],
  ];
  for (const [what, file, told] of cases) {
    test(`is refused with ${what}`, () => assert.match(problemsOf(file), told));
  }
});
