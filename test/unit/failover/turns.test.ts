import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { silentLog } from '../../../src/base/log.ts';
import type { ClusterConfig } from '../../../src/config/config.ts';
import { careFor, type CareWorld } from '../../../src/failover/care.ts';
import type { Chore } from '../../../src/failover/chores.ts';
import { Promotions } from '../../../src/failover/promotion.ts';
import type { OpenServer, ServerControl } from '../../../src/failover/server-control.ts';
import { Overtaken, serversInTurn, Turns } from '../../../src/failover/turns.ts';
import { FakeCluster, FakeProcess } from '../../support/fake-cluster.ts';

const UNLOCK: Chore = { kind: 'unlock', backend: 'db1', because: 'a test' };

/** A cluster with promotions and chores whose calls of one name stand still, from before they take effect, until they are let go. */
class Scene {
  readonly cluster: FakeCluster;
  readonly process: FakeProcess;
  readonly promotions: Promotions;
  readonly turns: Turns;
  readonly acts: string[] = [];
  /** A chore has come to the call that stands still. */
  readonly standing: Promise<void>;
  letGo: () => void = () => undefined;
  #stand: () => void = () => undefined;
  readonly #stops: keyof ServerControl;

  constructor(stops: keyof ServerControl, config: Partial<ClusterConfig> = {}) {
    this.#stops = stops;
    this.cluster = new FakeCluster(['db1', 'db2', 'db3'], config);
    this.process = new FakeProcess(this.cluster, Infinity, (act) => {
      this.acts.push(act);
      return null;
    });
    this.standing = new Promise((resolve) => (this.#stand = resolve));
    const { cluster, backends, clock, state } = this.cluster;
    this.turns = new Turns({
      clock,
      isBusy: (name) => this.promotions.isBusy(name),
      epochOf: () => this.cluster.state.epoch,
      isInCharge: () => true,
    });
    const answers = (backend: string): boolean => !this.cluster.server(backend).isDown;
    this.promotions = new Promotions({
      config: { clusters: [cluster], backends },
      clock,
      log: silentLog,
      journal: this.process.journal,
      world: {
        ...this.process.world,
        overtakeChores: (name) => this.turns.overtake(name, cluster.holdTimeoutMs, answers),
      },
      onEvent: () => undefined,
    });
    assert.equal(state.primary, 'db1');
  }

  carryOut(chore: Chore): Promise<string> {
    const { world } = this.process;
    const turn = this.turns.begin('main');
    const care: CareWorld = {
      turn,
      openServer: serversInTurn(this.#slowly(world.openServer), turn),
      survey: () => this.process.survey(),
      setAlone: (alone) => world.setAlone('main', alone),
      takeInHand: (backends) => world.takeInHand('main', backends),
      checkNow: (backend) => world.checkNow(backend),
    };
    return careFor(this.cluster.cluster, chore, care);
  }

  /** Answers how it ended, in a word. */
  promote(target: string): Promise<string> {
    const wish = { target, named: true, as: 'any', force: false } as const;
    return this.promotions.promote(wish, 'a test', true).then(
      () => 'done',
      (error: unknown) => (error as Error).message,
    );
  }

  #slowly(open: OpenServer): OpenServer {
    return async (...args) => {
      const server = await open(...args);
      const name = this.#stops;
      const slow = async (...rest: unknown[]): Promise<unknown> => {
        this.#stand();
        await new Promise<void>((resolve) => (this.letGo = resolve));
        return (server[name] as (...all: unknown[]) => Promise<unknown>)(...rest);
      };
      return { ...server, [name]: slow };
    };
  }
}

suite('a promotion that begins while a chore is being done', () => {
  test('does nothing before the act that has begun has ended', async () => {
    const scene = new Scene('makeWritable');
    scene.cluster.server('db1').readOnly = true;
    const chore = scene.carryOut(UNLOCK);
    await scene.standing;
    const before = scene.acts.length;
    const promotion = scene.promote('db2');
    await scene.cluster.clock.pass(1_000);
    assert.deepEqual(scene.acts.slice(before), []);
    scene.letGo();
    await chore;
    await scene.cluster.clock.pass(1_000);
    assert.equal(await promotion, 'done');
    assert.deepEqual(scene.cluster.violations, []);
    assert.deepEqual(scene.cluster.writers, ['db2']);
  });

  test('keeps the chore from its next act', async () => {
    const scene = new Scene('noteEpoch');
    scene.cluster.server('db1').readOnly = true;
    const chore = scene.carryOut(UNLOCK);
    await scene.standing;
    const promotion = scene.promote('db2');
    scene.letGo();
    await assert.rejects(chore, Overtaken);
    await scene.cluster.clock.pass(1_000);
    assert.equal(await promotion, 'done');
    assert.equal(scene.acts.filter((act) => act === 'make writable db1').length, 0);
    assert.deepEqual(scene.cluster.writers, ['db2']);
  });

  test('and ends before the chore has looked: what was decided before it is not done after it', async () => {
    const scene = new Scene('look');
    scene.cluster.server('db1').readOnly = true;
    const chore = scene.carryOut(UNLOCK);
    await scene.standing;
    const there = scene.promote('db2');
    await scene.cluster.clock.pass(1_000);
    assert.equal(await there, 'done');
    // Back again: it is the primary as when the chore was decided on, and read-only for the moment.
    const back = scene.promote('db1');
    await scene.cluster.clock.pass(1_000);
    assert.equal(await back, 'done');
    const before = scene.acts.length;
    scene.letGo();
    await assert.rejects(chore, Overtaken);
    assert.deepEqual(scene.acts.slice(before), ['look db1']);
  });

  test('is refused when that does not end within hold_timeout', async () => {
    const scene = new Scene('makeWritable', { holdTimeoutMs: 3_000 });
    scene.cluster.server('db1').readOnly = true;
    const chore = scene.carryOut(UNLOCK);
    await scene.standing;
    const promotion = scene.promote('db2');
    await scene.cluster.clock.pass(2_999);
    assert.ok(scene.promotions.isBusy('main'));
    await scene.cluster.clock.pass(1);
    assert.match(await promotion, /what dbproxy was doing at db1 has not ended within 3000 ms/);
    assert.ok(!scene.promotions.isBusy('main'));
    scene.letGo();
    await chore;
  });

  test('does not wait for one at a server that does not answer', async () => {
    const scene = new Scene('setSemiSync', { semiSync: 'prefer' });
    const chore = scene.carryOut({
      kind: 'semi_sync',
      backend: 'db1',
      side: 'primary',
      on: true,
      because: 'a test',
    });
    await scene.standing;
    scene.cluster.server('db1').isDown = true;
    const promotion = scene.promote('db2');
    await scene.cluster.clock.pass(1_000);
    assert.equal(await promotion, 'done');
    scene.letGo();
    await assert.rejects(chore, /connection refused/);
  });

  test('waits for a receiver that is being connected anew, and does not find it stopped', async () => {
    const scene = new Scene('stopReceiver');
    const chore = scene.carryOut({ kind: 'reconnect', backend: 'db2', because: 'a test' });
    await scene.standing;
    const promotion = scene.promote('db2');
    scene.letGo();
    await chore;
    const at = (act: string): number => scene.acts.indexOf(act);
    assert.ok(at('start replication db2') > at('stop receiver db2'));
    await scene.cluster.clock.pass(1_000);
    assert.equal(await promotion, 'done');
    assert.ok(at('journal opened') > at('start replication db2'));
  });
});
