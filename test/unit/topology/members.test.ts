import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { BackendConfig } from '../../../src/config/config.ts';
import { membersInForce, objectionsToAdding, unusedSections } from '../../../src/topology/members.ts';
import { EMPTY_STATE, formatState, parseState, type DurableState } from '../../../src/topology/state-file.ts';
import { TopologyStore } from '../../../src/topology/store.ts';
import { backendConfig, clusterConfig } from '../../support/configs.ts';
import { exampleConfig } from '../../support/operations.ts';

const FILE = { clusters: [clusterConfig()], backends: [backendConfig('db1'), backendConfig('db2')] };
const DB3 = { cluster: 'main', address: 'host-db3:3306', ro_weight: '3' };

function namesOf(backends: readonly BackendConfig[]): string[] {
  return backends.map(({ name }) => name);
}

suite('the backends in force', () => {
  test('are those of the file, without the dropped ones, and the added ones with the usual defaults', () => {
    const members = membersInForce(FILE, { added: { db3: DB3 }, dropped: { db1: 'host-db1:3306' } });
    assert.deepEqual(namesOf(members), ['db2', 'db3']);
    const { rwWeight, roWeight, roWeightSet, maxConnections, tls } = members[1]!;
    assert.deepEqual([rwWeight, roWeight, roWeightSet, maxConnections, tls], [0, 3, true, 200, 'off']);
  });

  test('a section that names another server under the name of a dropped one counts', () => {
    assert.deepEqual(namesOf(membersInForce(FILE, { dropped: { db1: 'host-db9:3306' } })), ['db1', 'db2']);
  });

  test('a section of the same name and address says what the statement did not', () => {
    const written = { cluster: 'main', address: 'host-db2:3306', rw_weight: '7' };
    const backends = [backendConfig('db1'), backendConfig('db2', { maxConnections: 5, roWeight: 9 })];
    const [, db2] = membersInForce({ ...FILE, backends }, { added: { db2: written } });
    assert.deepEqual([db2!.rwWeight, db2!.roWeight, db2!.maxConnections], [7, 9, 5]);
    assert.deepEqual(unusedSections(backends, [db2!], { added: { db2: written } }), []);
  });

  const strangers = [
    ['only the name', { db2: { cluster: 'main', address: 'host-db9:3306' } }, ['db1', 'db2']],
    ['only the address', { db9: { cluster: 'main', address: 'host-db2:3306' } }, ['db1', 'db9']],
  ] as const;
  for (const [what, added, expected] of strangers) {
    test(`a section that shares ${what} with an added one is not used, and that is told`, () => {
      const members = membersInForce(FILE, { added });
      assert.deepEqual(namesOf(members), expected);
      assert.match(
        unusedSections(FILE.backends, members, { added }).join(),
        /^\[backend db2\] at host-db2:3306 is not used: db\d was added at host-db\d:3306/,
      );
    });
  }

  test('one whose cluster is gone from the file is not there', () => {
    assert.deepEqual(namesOf(membersInForce(FILE, { added: { db3: { ...DB3, cluster: 'gone' } } })), [
      'db1',
      'db2',
    ]);
  });
});

suite('what speaks against a new backend', () => {
  const config = exampleConfig();
  const objections = (name: string, written: Record<string, string>): string =>
    objectionsToAdding(name, written, config.backends, config).join('; ');
  const at = (address: string, more: Record<string, string> = {}): Record<string, string> => ({
    address,
    cluster: 'main',
    ...more,
  });
  const cases = [
    ['nothing', 'db3', at('10.0.0.3:3306'), /^$/],
    ['its name is taken', 'db2', at('10.0.0.3:3306'), /there is a backend db2 already/],
    ['its address is taken', 'db3', at('10.0.0.2:3306'), /10\.0\.0\.2:3306 is db2 already/],
    ['dbproxy itself listens there', 'db3', at('127.0.0.1:6446'), /where listener write itself listens/],
    ['there is no such cluster', 'db3', { ...at('h:1'), cluster: 'x' }, /no cluster x, only main/],
    ['it is no address', 'db3', at('10.0.0.3'), /address/],
    ['it is no name', 'a b', at('10.0.0.3:3306'), /a name has letters/],
    ['there is no such key', 'db3', at('h:1', { weight: '3' }), /weight: there is no such key/],
    ['a value is wrong', 'db3', at('h:1', { tls: 'perhaps' }), /tls: 'perhaps'/],
    ['keys do not go together', 'db3', at('h:1', { follow: 'on', rw_weight: '1' }), /takes no traffic/],
    ['a file is named', 'db3', at('h:1', { tls_ca: '/ca.pem' }), /files are named in the configuration/],
  ] as const;
  for (const [what, name, written, told] of cases) {
    test(what, () => assert.match(objections(name, written), told));
  }

  test('without an arbiter, a server on another host would make failover = auto a danger', () => {
    const auto = { ...config, clusters: [clusterConfig({ failover: 'auto' })] };
    const told = (address: string): string =>
      objectionsToAdding('db3', at(address), config.backends, auto).join();
    assert.match(told('10.0.0.3:3306'), /failover = auto and no arbiter/);
    assert.equal(told('127.0.0.1:3306'), '');
  });
});

suite('the store', () => {
  function open(state: DurableState = EMPTY_STATE): { store: TopologyStore; saved: DurableState[] } {
    const saved: DurableState[] = [];
    const save = async (next: DurableState): Promise<void> => void saved.push(next);
    return { store: new TopologyStore(FILE, { load: () => state, save }), saved };
  }

  test('tells who has come and gone before the snapshot says so, and the next process reads the same', async () => {
    const { store, saved } = open();
    const told: string[] = [];
    store.onMembers((joined, left) => told.push(`+${namesOf(joined).join()} -${namesOf(left).join()}`));
    store.onSnapshot(({ backends }) => told.push(backends.map(({ name }) => name).join()));
    await store.addBackend('db3', DB3, { isNew: true });
    assert.equal(store.settingsOf('db3').isNew, true);
    await store.dropBackend('db1');
    assert.deepEqual(told, ['+db3 -', 'db1,db2,db3', '+ -db1', 'db2,db3']);
    const read = parseState(formatState(saved.at(-1)!));
    assert.ok(typeof read !== 'string', 'it was understood');
    assert.deepEqual(namesOf(open(read).store.members), ['db2', 'db3']);
  });

  test('one that was dropped can be added again, and begins as it did at first', async () => {
    const { store } = open({ ...EMPTY_STATE, backends: { db1: { roWeight: 7, admin: 'offline' } } });
    await store.dropBackend('db1');
    await store.addBackend('db1', { cluster: 'main', address: 'host-db1:3306' }, {});
    const { roWeight, admin } = store.settingsOf('db1');
    assert.deepEqual([roWeight, admin], [1, 'online']);
    assert.deepEqual(namesOf(store.members), ['db2', 'db1']);
  });

  test('another server that gets its name has nothing to do with what it had', async () => {
    const { store } = open();
    store.setDiverged(new Map([['db2', { backend: 'db2', extras: '3 of its own' }]]));
    const reasonOf = (name: string): string | undefined =>
      store.snapshot.backends.find((one) => one.name === name)?.reason;
    assert.match(reasonOf('db2') ?? '', /3 of its own/);
    await store.dropBackend('db2');
    await store.addBackend('db2', { cluster: 'main', address: '10.0.0.9:3306' }, { isNew: true });
    assert.doesNotMatch(reasonOf('db2') ?? '3 of its own', /3 of its own/);
  });

  test('a state file whose added backend cannot be read is refused', () => {
    const text = formatState({ ...EMPTY_STATE, added: { db3: { cluster: 'main', address: 'nowhere' } } });
    const read = parseState(text);
    assert.match(typeof read === 'string' ? read : '', /added backend db3: .*address/);
  });
});
