/**
 * Plays histories: one from its scenario, and with fewer and fewer faults to find out which of them a violation
 * needs.
 */
import { NO_MUTATIONS, type Mutations } from './mutations.ts';
import type { Fault, Scenario } from './scenario.ts';
import { World, type Result } from './world.ts';

/** Plays one history; must be called from the event loop. */
export function play(scenario: Scenario, mutations: Mutations = NO_MUTATIONS): Result {
  return new World(scenario, mutations, false).run();
}

/** One history with all that happens in it. */
export function tell(
  scenario: Scenario,
  mutations: Mutations = NO_MUTATIONS,
): { result: Result; story: readonly string[] } {
  const world = new World(scenario, mutations, true);
  const result = world.run();
  return { result, story: world.story };
}

/** The same scenario with as few faults, and as simple a cluster, as still break the same rule. */
export function minimised(scenario: Scenario, mutations: Mutations = NO_MUTATIONS): Scenario {
  const rule = play(scenario, mutations).violation?.rule;
  if (rule === undefined) throw new Error(`seed ${scenario.seed} breaks nothing`);
  let least = scenario;
  for (let wasSmaller = true; wasSmaller;) {
    wasSmaller = false;
    for (const smaller of simpler(least)) {
      if (play(smaller, mutations).violation?.rule !== rule) continue;
      least = smaller;
      wasSmaller = true;
      break;
    }
  }
  return least;
}

/** What is simpler by one thing. */
function simpler(scenario: Scenario): Scenario[] {
  const { faults, servers } = scenario;
  const fewerFaults = faults.map((fault) => ({ ...scenario, faults: faults.filter((one) => one !== fault) }));
  const others: Scenario[] = [];
  if (scenario.hasDirectClient) others.push({ ...scenario, hasDirectClient: false });
  if (scenario.hasArbiter) others.push({ ...scenario, hasArbiter: false });
  const last = servers.at(-1)!;
  if (servers.length > 2 && !faults.some((fault) => isAbout(fault, last))) {
    others.push({ ...scenario, servers: servers.slice(0, -1) });
  }
  return [...fewerFaults, ...others];
}

function isAbout(fault: Fault, server: string): boolean {
  return JSON.stringify(fault).includes(server);
}
