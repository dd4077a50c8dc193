import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLog } from '../../../src/base/log.ts';
import { startHttp } from '../../../src/http/server.ts';
import { Routes } from '../../../src/http/routes.ts';
import type { Operations } from '../../../src/ipc/operations.ts';
import { fakeOperations, PEERS, snapshotOf } from '../../support/operations.ts';

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function http(t: TestContext, operations: Operations, allow: string[] = []): Promise<string> {
  const port = await freePort();
  const server = await startHttp({
    config: { address: { kind: 'tcp', host: '127.0.0.1', port }, allow, dashboard: false },
    operations,
    clock: systemClock,
    log: silentLog,
    version: '1.2.3',
  });
  t.after(() => server.close());
  return `http://127.0.0.1:${port}`;
}

/** Sends bytes as they are and answers all that comes until the end. */
async function sendRaw(base: string, bytes: string): Promise<string> {
  const socket = net.connect(Number(new URL(base).port), '127.0.0.1');
  let received = '';
  socket.on('data', (chunk: Buffer) => (received += chunk.toString()));
  socket.on('error', () => undefined);
  socket.write(bytes);
  await once(socket, 'close');
  return received;
}

/** The host that does not hold the virtual IP of `write`. */
const standby = fakeOperations({
  listeners: () => [
    { listener: 'write', worker: 1, error: 'this host does not have it', isDraining: false, stateMs: 1 },
    { listener: 'read', worker: 1, error: null, isDraining: false, stateMs: 1 },
  ],
});

const noPrimary = fakeOperations({
  snapshot: () => snapshotOf({ cluster: { primary: null, reason: 'nobody is writable' } }),
});

describe('paths', () => {
  const cases: [operations: Operations, method: string, target: string, status: number, body: RegExp][] = [
    [fakeOperations(), 'GET', '/', 200, /\/metrics +metrics for Prometheus/],
    [fakeOperations(), 'GET', '/health', 200, /^dbproxy 1\.2\.3 is running\n$/],
    [fakeOperations(), 'GET', '/health/write', 200, /^main: writes go to db1\n$/],
    [fakeOperations(), 'GET', '/health/write/', 200, /^main: writes go to db1\n$/],
    [fakeOperations(), 'GET', '/health/write/main', 200, /^main: writes go to db1\n$/],
    [fakeOperations(), 'GET', '/health/read?cluster=main', 200, /^main: reads go to db2\n$/],
    [fakeOperations(), 'OPTIONS', '/health/write', 200, /^main: writes go to db1\n$/],
    [fakeOperations(), 'HEAD', '/health/write', 200, /./],
    [fakeOperations(), 'GET', '/health/write/mian', 404, /no cluster 'mian'; known: main/],
    [
      standby,
      'GET',
      '/health/write',
      200,
      /^main: writes go to db1; listener write: this host does not have it\n$/,
    ],
    [standby, 'GET', '/health/read', 200, /^main: reads go to db2\n$/],
    [noPrimary, 'GET', '/health/write', 503, /^main: no writes: nobody is writable\n$/],
    [noPrimary, 'OPTIONS', '/health/write', 503, /nobody is writable/],
    [fakeOperations(), 'GET', '/health/write/a/b', 404, /nothing at/],
    [fakeOperations(), 'GET', '/nothing', 404, /nothing at \/nothing; paths:/],
    [fakeOperations(), 'POST', '/metrics', 405, /POST is not possible at \/metrics; possible: GET, HEAD/],
    [fakeOperations(), 'DELETE', '/health', 405, /possible: GET, HEAD, OPTIONS/],
    [fakeOperations(), 'GET', '/%zz', 400, /cannot be read/],
    [fakeOperations(), 'GET', 'http://x/', 400, /cannot be read/],
    [fakeOperations(), 'GET', '/api/events?limit=x', 400, /not a whole number/],
  ];
  for (const [operations, method, target, status, body] of cases) {
    test(`${method} ${target} answers ${status}`, async () => {
      const reply = await new Routes(operations, '1.2.3').reply(method, target);
      assert.equal(reply.status, status);
      assert.match(reply.body, body);
    });
  }

  test('405 says in a header what is possible', async () => {
    const reply = await new Routes(fakeOperations(), '1').reply('POST', '/metrics');
    assert.equal(reply.headers?.['allow'], 'GET, HEAD');
  });

  test('/api/topology is the snapshot as JSON, addresses as text', async () => {
    const reply = await new Routes(fakeOperations(), '1').reply('GET', '/api/topology');
    const topology = JSON.parse(reply.body) as { epoch: number; backends: { address: string }[] };
    assert.equal(topology.epoch, 3);
    assert.deepEqual(
      topology.backends.map(({ address }) => address),
      ['10.0.0.1:3306', '10.0.0.2:3306'],
    );
  });

  test('/api/events has the latest when it is limited', async () => {
    const reply = await new Routes(fakeOperations(), '1').reply('GET', '/api/events?limit=1');
    assert.deepEqual(JSON.parse(reply.body), [
      { time: '1970-01-01T00:00:01.000Z', id: 2, event: 'backend.down', subject: 'db2', detail: 'refused' },
    ]);
    assert.equal((await new Routes(fakeOperations(), '1').reply('GET', '/api/events?limit=0')).body, '[]\n');
  });
});

describe('/metrics', () => {
  const lines: string[] = [
    'dbproxy_build_info{version="1.2.3",node_version="' + process.version + '"} 1',
    'dbproxy_uptime_seconds 61.5',
    'dbproxy_client_connections{listener="write"} 8',
    'dbproxy_listener_workers{listener="read"} 1',
    'dbproxy_listener_draining{listener="write"} 0',
    'dbproxy_backend_connections{backend="db1",state="used"} 6',
    'dbproxy_backend_connections{backend="db1",state="idle"} 4',
    'dbproxy_backend_up{backend="db1",cluster="main"} 1',
    'dbproxy_backend_role{backend="db1",cluster="main",role="primary"} 1',
    'dbproxy_backend_role{backend="db1",cluster="main",role="replica"} 0',
    'dbproxy_backend_lag_seconds{backend="db2",cluster="main"} 0.0124',
    'dbproxy_backend_weight{backend="db1",cluster="main",kind="rw"} 2',
    'dbproxy_backend_weight{backend="db2",cluster="main",kind="ro"} 1',
    'dbproxy_queries_total{listener="write",backend="db1",class="write"} 6',
    'dbproxy_query_errors_total{code="1040"} 10',
    'dbproxy_logins_refused_total{reason="password"} 4',
    'dbproxy_bytes_total{direction="from_clients"} 200',
    'dbproxy_bytes_total{direction="to_clients"} 2000',
    'dbproxy_pool_waits_total 12',
    'dbproxy_pool_restores_total 18',
    'dbproxy_pinned_sessions{listener="split",reason="transaction"} 2',
    'dbproxy_causal_reads_total{listener="split",outcome="at_once"} 20',
    'dbproxy_causal_reads_total{listener="split",outcome="waited"} 8',
    'dbproxy_causal_reads_total{listener="split",outcome="fell_back"} 2',
    'dbproxy_read_retries_total{listener="split",reason="refused"} 4',
    'dbproxy_pipelined_queries_total 14',
    'dbproxy_prepared_statements 10',
    'dbproxy_rule_hits_total{rule="reports"} 6',
    'dbproxy_held_statements 2',
    'dbproxy_failovers_total{kind="switchover",result="done"} 2',
    'dbproxy_failover_duration_seconds{kind="switchover",result="done"} 1.5',
    'dbproxy_lost_commits_total{cluster="main",outcome="not_committed"} 3',
    'dbproxy_topology_epoch 3',
    'dbproxy_writes_held{cluster="main"} 0',
    'dbproxy_maintenance{cluster="main"} 0',
    'dbproxy_state_writable 1',
    'dbproxy_in_charge{cluster="main"} 1',
    'dbproxy_process_resident_bytes{process="worker-1"} 50000000',
    'dbproxy_event_loop_lag_seconds{process="worker-2"} 0.0005',
    '# TYPE dbproxy_query_duration_seconds histogram',
    'dbproxy_query_duration_seconds_bucket{listener="write",backend="db1",class="write",le="0.0001"} 4',
    'dbproxy_query_duration_seconds_bucket{listener="write",backend="db1",class="write",le="10"} 4',
    'dbproxy_query_duration_seconds_bucket{listener="write",backend="db1",class="write",le="+Inf"} 6',
    'dbproxy_query_duration_seconds_sum{listener="write",backend="db1",class="write"} 25',
    'dbproxy_query_duration_seconds_count{listener="write",backend="db1",class="write"} 6',
  ];
  for (const line of lines) {
    test(line, async () => {
      const { body } = await new Routes(fakeOperations(), '1.2.3').reply('GET', '/metrics');
      assert.ok(body.split('\n').includes(line), body);
    });
  }

  test('maintenance, and a state_dir that cannot be written to', async () => {
    const operations = fakeOperations({
      snapshot: () => snapshotOf({ cluster: { maintenance: 'on' } }),
      stateTrouble: () => 'ENOSPC: no space left on device',
    });
    const { body } = await new Routes(operations, '1').reply('GET', '/metrics');
    assert.match(body, /^dbproxy_maintenance\{cluster="main"\} 1$/m);
    assert.match(body, /^dbproxy_state_writable 0$/m);
  });

  test('the other dbproxy of a pair, where there is one', async () => {
    const alone = await new Routes(fakeOperations(), '1').reply('GET', '/metrics');
    assert.doesNotMatch(alone.body, /^dbproxy_peer_\w+[ {]/m);
    const { body } = await new Routes(fakeOperations({ peers: () => PEERS }), '1').reply('GET', '/metrics');
    assert.match(body, /^dbproxy_peer_up\{address="10\.0\.0\.2:6032"\} 1$/m);
    assert.match(body, /^dbproxy_peer_heard_seconds\{address="10\.0\.0\.2:6032"\} 0.25$/m);
    assert.match(body, /^dbproxy_peer_holds_vip\{dbproxy="this"\} 0$/m);
    assert.match(body, /^dbproxy_peer_holds_vip\{dbproxy="other"\} 1$/m);
  });

  test('a primary has no lag to report', async () => {
    const { body } = await new Routes(fakeOperations(), '1.2.3').reply('GET', '/metrics');
    assert.doesNotMatch(body, /backend_lag_seconds\{backend="db1"/);
  });

  test('a server that is down or taken out is not up', async () => {
    const operations = fakeOperations({
      snapshot: () => snapshotOf({ db1: { state: 'offline' }, db2: { state: 'down' } }),
    });
    const { body } = await new Routes(operations, '1').reply('GET', '/metrics');
    assert.match(body, /backend_up\{backend="db1",cluster="main"\} 0/);
    assert.match(body, /backend_up\{backend="db2",cluster="main"\} 0/);
  });

  test('each scrape has the totals of now, not of all scrapes', async () => {
    const routes = new Routes(fakeOperations(), '1');
    await routes.reply('GET', '/metrics');
    const { body } = await routes.reply('GET', '/metrics');
    assert.match(body, /^dbproxy_pool_waits_total 12$/m);
  });
});

describe('the server', () => {
  test('answers over the network, HEAD without a body', async (t) => {
    const base = await http(t, noPrimary, ['127.0.0.0/8']);
    const metrics = await fetch(`${base}/metrics`);
    assert.match(metrics.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/);
    await metrics.text();
    const health = await fetch(`${base}/health/write`);
    assert.equal(health.status, 503);
    assert.equal(await health.text(), 'main: no writes: nobody is writable\n');
    const head = await fetch(`${base}/health/write`, { method: 'HEAD' });
    assert.equal(head.status, 503);
    assert.equal(await head.text(), '');
  });

  test('refuses an address outside allow', async (t) => {
    const base = await http(t, fakeOperations(), ['10.0.0.0/8']);
    const answer = await fetch(`${base}/health`);
    assert.equal(answer.status, 403);
    assert.match(await answer.text(), /127\.0\.0\.1 is not in 'allow'/);
  });

  test('answers a defect with 500 and goes on', async (t) => {
    const operations = fakeOperations({
      stats: async () => {
        throw new TypeError('a defect');
      },
    });
    const base = await http(t, operations);
    const failed = await fetch(`${base}/metrics`);
    assert.equal(failed.status, 500);
    await failed.text();
    assert.equal((await fetch(`${base}/health`)).status, 200);
  });

  test('answers an HTTP/1.0 health check and closes', async (t) => {
    const base = await http(t, fakeOperations());
    assert.match(await sendRaw(base, 'OPTIONS /health/read HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 200 OK\r\n/);
  });

  const garbage: [what: string, bytes: string][] = [
    ['another protocol', '\x00\x01\x02\x03 nonsense\r\n\r\n'],
    ['headers without an end', `GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n`],
  ];
  for (const [what, bytes] of garbage) {
    test(`refuses ${what} and goes on`, async (t) => {
      const base = await http(t, fakeOperations());
      assert.match(await sendRaw(base, bytes), /^HTTP\/1\.1 400 Bad Request\r\n/);
      assert.equal((await fetch(`${base}/health`)).status, 200);
    });
  }
});
