/**
 * A scenario from a seed. Each session has a queue of steps that belong together; at each turn a session is
 * drawn and does its next one. What would wait for another session is put off, and given up when nothing
 * else can go on.
 */
import { generator } from '../../support/fuzz.ts';
import type { LabFlavour } from '../../lab/flavours.ts';
import { Draw } from './draw.ts';
import { ENDPOINTS } from './endpoints.ts';
import type { Family } from './families/family.ts';
import { immediateFamilies, preparedFamilies } from './families/prepared.ts';
import { readFamilies } from './families/reads.ts';
import { sessionFamilies } from './families/session.ts';
import { settingFamilies } from './families/settings.ts';
import { transactionFamilies } from './families/transactions.ts';
import { sequenceFamilies, writeFamilies } from './families/writes.ts';
import type { Action, ClientFlags, LagAction, ProfileName, Scenario, Step } from './scenario.ts';
import { asksBack, mayPin, World } from './world.ts';

const FAMILIES: readonly Family[] = [
  ...readFamilies,
  ...writeFamilies,
  ...settingFamilies,
  ...sessionFamilies,
  ...transactionFamilies,
  ...preparedFamilies,
];
const FAMILIES_OF_MARIADB: readonly Family[] = [...FAMILIES, ...sequenceFamilies, ...immediateFamilies];

const FLAGS: Readonly<Record<LabFlavour, readonly ClientFlags[]>> = {
  mariadb: ['old', 'several', 'modern', 'found_rows', 'mariadb'],
  mysql97: ['old', 'several', 'modern', 'found_rows', 'attributes'],
  mysql56: ['old', 'several', 'found_rows'],
};

const FEWEST_STEPS = 30;
const MOST_STEPS = 130;
/** Of a hundred sessions, how many do nothing that pins them to a connection. */
const CALM_PERCENT = 60;
/** Of a hundred scenarios, how many have a trigger after which every write pins. */
const TRIGGER_PERCENT = 15;
/** Of a hundred turns, how many move the replica. */
const LAG_PERCENT = 5;
/** The same for a held replica of MySQL 5.6, which can be waited for in whole seconds only. */
const SHORT_HOLD_PERCENT = 40;

/** The scenario of this seed: the same at any time, for the same flavour and profile. */
export function generate(flavour: LabFlavour, profile: ProfileName, seed: number): Scenario {
  const draw = new Draw(generator(seed), flavour);
  const endpoint = ENDPOINTS[profile];
  const sessions = endpoint.sessions ?? 2 + draw.int(3);
  const mostPinning = endpoint.pinning ?? sessions;
  const calm = Array.from(
    { length: sessions },
    (_, index) => index >= mostPinning || draw.chance(CALM_PERCENT),
  );
  const world = new World(calm.map((isCalm) => !isCalm));
  const length = FEWEST_STEPS + draw.int(MOST_STEPS - FEWEST_STEPS);
  return {
    flavour,
    profile,
    seed,
    flags: draw.pick(FLAGS[flavour]),
    user: draw.chance(60) ? 'app' : 'root2',
    variablesByTrigger: endpoint.pinning === undefined && draw.chance(TRIGGER_PERCENT),
    sessions,
    steps: new Playwright(draw, world, endpoint.pinning !== undefined).write(length),
  };
}

/** Writes the steps of one scenario. */
class Playwright {
  readonly #draw: Draw;
  readonly #world: World;
  readonly #connectionsAreFew: boolean;
  readonly #queues: Action[][];
  readonly #steps: Step[] = [];
  #replica: 'follows' | 'held' | 'stopped' = 'follows';

  constructor(draw: Draw, world: World, connectionsAreFew: boolean) {
    this.#draw = draw;
    this.#world = world;
    this.#connectionsAreFew = connectionsAreFew;
    this.#queues = world.sessions.map(() => []);
  }

  write(length: number): Step[] {
    if (this.#draw.chance(70)) this.#steps.push({ lag: 'catch_up' });
    while (this.#steps.length < length) {
      if (this.#draw.chance(this.#lagPercent())) this.#moveReplica();
      else this.#turn(this.#draw.int(this.#queues.length));
    }
    return this.#steps;
  }

  #turn(session: number): void {
    const queue = this.#queues[session]!;
    if (queue.length === 0) queue.push(...this.#invent(session));
    if (queue.length === 0) return;
    const step = { session, ...queue[0]! };
    if (this.#world.wouldWait(step)) {
      // Whom it waits for may end its transaction soon, or not: a coin decides whether to give up.
      if (this.#draw.chance(30)) queue.length = 0;
      return;
    }
    queue.shift();
    this.#world.note(step);
    this.#steps.push(step);
  }

  #invent(session: number): Action[] {
    const me = this.#world.sessions[session]!;
    const all = this.#draw.flavour === 'mariadb' ? FAMILIES_OF_MARIADB : FAMILIES;
    const actions = this.#draw.weighted(all).make({ draw: this.#draw, me });
    if (this.#connectionsAreFew && actions.some(asksBack)) return [];
    return me.mayPin || !actions.some(mayPin) ? actions : [];
  }

  #lagPercent(): number {
    const isHeldShortly = this.#draw.flavour === 'mysql56' && this.#replica === 'held';
    return isHeldShortly ? SHORT_HOLD_PERCENT : LAG_PERCENT;
  }

  #moveReplica(): void {
    this.#steps.push({ lag: this.#nextLag() });
  }

  #nextLag(): LagAction {
    switch (this.#replica) {
      case 'follows':
        if (this.#draw.chance(30)) return 'catch_up';
        this.#replica = this.#draw.chance(80) ? 'held' : 'stopped';
        return this.#replica === 'held' ? 'hold' : 'stop';
      case 'held':
        this.#replica = 'follows';
        return 'release';
      case 'stopped':
        this.#replica = 'follows';
        return 'start';
    }
  }
}
