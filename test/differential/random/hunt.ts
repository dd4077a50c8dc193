/**
 * The hunt: scenario after scenario, seed after seed, until so many statements were equal on both sides or
 * the time is over. What differs is cut down and reported; the hunt may go on after it.
 */
import type { LabFlavour } from '../../lab/flavours.ts';
import { Arena } from './arena.ts';
import { blamedOnServer, firstDifference, scenarioText, signature, type Difference } from './difference.ts';
import { generate } from './generate.ts';
import type { ProfileName, Scenario } from './scenario.ts';
import { shrink } from './shrink.ts';

export interface HuntOptions {
  readonly flavour: LabFlavour;
  /** Scenarios go round these. */
  readonly profiles: readonly ProfileName[];
  /** The first seed; those after it count up. */
  readonly seed: number;
  readonly statements: number;
  /** No new scenario begins after so long. */
  readonly timeoutMs: number;
  /** Ends the hunt after so many failures. */
  readonly mostFailures: number;
  /** For making one failure shorter; 0: not at all. */
  readonly shrinkMs: number;
  /** Failures whose signature fits are known: counted, and neither cut down nor told. */
  readonly known?: RegExp;
  onFailure?(failure: Failure): void;
  onProgress?(statements: number): void;
}

export interface Failure {
  readonly scenario: Scenario;
  readonly difference: Difference;
  /** What the proxies have complained of meanwhile. */
  readonly complaints: readonly string[];
}

export interface HuntResult {
  readonly statements: number;
  readonly scenarios: number;
  readonly failures: readonly Failure[];
  readonly knownFailures: number;
  /** Scenarios that ended where dbproxy refused a statement in words of its own, by the error's name. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Statements by backend, as the proxies have counted them. */
  readonly served: Readonly<Record<string, number>>;
}

/** Hunts in an arena of its own. */
export async function hunt(options: HuntOptions): Promise<HuntResult> {
  const arena = await Arena.open(options.flavour, options.profiles);
  try {
    return await huntIn(arena, options);
  } finally {
    await arena.close();
  }
}

/** Hunts in an arena that is there. */
export async function huntIn(arena: Arena, options: HuntOptions): Promise<HuntResult> {
  const failures: Failure[] = [];
  const end = performance.now() + options.timeoutMs;
  let statements = 0;
  let scenarios = 0;
  let knownFailures = 0;
  const refusals: Record<string, number> = {};
  while (statements < options.statements && performance.now() < end) {
    const profile = options.profiles[scenarios % options.profiles.length]!;
    const scenario = generate(options.flavour, profile, options.seed + scenarios);
    scenarios++;
    const isKnown = (failure: Failure): boolean =>
      options.known?.test(signature(failure.scenario, failure.difference)) === true;
    const failure = await tryScenario(arena, scenario, options.shrinkMs, isKnown);
    // What comes after the first difference was played and proves nothing.
    statements += statementsIn(scenario.steps.slice(0, failure?.difference.at));
    options.onProgress?.(statements);
    if (failure === null) continue;
    const { refusal } = failure.difference;
    if (refusal !== null) {
      refusals[refusal] = (refusals[refusal] ?? 0) + 1;
      continue;
    }
    if (isKnown(failure)) {
      knownFailures++;
      continue;
    }
    failures.push(failure);
    options.onFailure?.(failure);
    if (failures.length >= options.mostFailures) break;
  }
  return { statements, scenarios, failures, knownFailures, refusals, served: await arena.served() };
}

/** Plays a scenario; the failure cut down as far as `shrinkMs` allows, or null when both sides agree. */
export async function tryScenario(
  arena: Arena,
  scenario: Scenario,
  shrinkMs: number,
  isKnown: (failure: Failure) => boolean = () => false,
): Promise<Failure | null> {
  const difference = await differenceOf(arena, scenario);
  if (difference === null) return null;
  let best: Failure = { scenario, difference, complaints: arena.complaints() };
  if (isKnown(best) || difference.refusal !== null) return best;
  const end = performance.now() + shrinkMs;
  const fails = async (steps: Scenario['steps']): Promise<boolean> => {
    const shorter = { ...scenario, seed: null, steps };
    const found = await differenceOf(arena, shorter);
    if (found === null || found.refusal !== null) return false;
    const failure = { scenario: shorter, difference: found, complaints: arena.complaints() };
    if (isKnown(failure)) return false;
    best = failure;
    return true;
  };
  const isOver = (): boolean => performance.now() > end;
  if (isOver()) return best;
  // What comes after the difference has nothing to do with it, unless it was found in the data left.
  const upToIt = scenario.steps.slice(0, difference.at + 1);
  const steps = (await fails(upToIt)) ? upToIt : scenario.steps;
  await shrink(steps, fails, isOver);
  return { ...best, scenario: { ...best.scenario, seed: scenario.seed } };
}

async function differenceOf(arena: Arena, scenario: Scenario): Promise<Difference | null> {
  try {
    return blamedOnServer(firstDifference(await arena.play(scenario), scenario.profile), scenario);
  } catch (error) {
    // The arena itself is broken: no more scenarios can be played in it.
    const story = [`while this was played:`, scenarioText(scenario), ...arena.complaints()].join('\n');
    throw new Error(story, { cause: error });
  }
}

function statementsIn(steps: Scenario['steps']): number {
  return steps.filter((step) => !('lag' in step)).length;
}
