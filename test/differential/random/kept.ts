/**
 * Scenarios that have once failed, cut down to a few steps: each is a file in `kept/`, and they always run.
 * One that says of no flavour holds for all of them.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LabFlavour } from '../../lab/flavours.ts';
import type { Scenario } from './scenario.ts';

/** A file of `kept/`: what went wrong, and the scenario; what it leaves out is as common as can be. */
type KeptFile = { readonly why: string; readonly flavours?: readonly LabFlavour[] } & Pick<
  Scenario,
  'steps'
> &
  Partial<Pick<Scenario, 'profile' | 'flags' | 'user' | 'variablesByTrigger'>>;

export interface KeptScenario {
  readonly name: string;
  readonly why: string;
  readonly scenario: Scenario;
}

const FOLDER = join(import.meta.dirname, 'kept');

/** Those that hold for a flavour, by name. */
export function keptScenarios(flavour: LabFlavour): KeptScenario[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith('.json'))
    .toSorted()
    .flatMap((file) => {
      const kept = JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as KeptFile;
      if (kept.flavours?.includes(flavour) === false) return [];
      const sessions = 1 + Math.max(...kept.steps.map((step) => ('lag' in step ? 0 : step.session)));
      const {
        profile = 'transaction',
        flags = 'old',
        user = 'app',
        variablesByTrigger = false,
        why,
        steps,
      } = kept;
      const scenario = { flavour, profile, flags, user, seed: null, variablesByTrigger, sessions, steps };
      return [{ name: file.replace('.json', ''), why, scenario }];
    });
}
