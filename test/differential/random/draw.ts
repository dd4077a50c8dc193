/**
 * Drawing lots for the generator: all that is random in a scenario comes from here, and so from its seed.
 */
import type { LabFlavour } from '../../lab/flavours.ts';
import type { Random } from '../../support/fuzz.ts';

/** What only some servers have, by the flavours that have it. */
const FEATURES = {
  cte: ['mariadb', 'mysql97'],
  window: ['mariadb', 'mysql97'],
  json: ['mariadb', 'mysql97'],
  sequence: ['mariadb'],
  returning: ['mariadb'],
  for_share: ['mysql97'],
  nowait: ['mariadb', 'mysql97'],
  set_statement: ['mariadb'],
  execute_immediate: ['mariadb'],
  set_var_hint: ['mysql97'],
  tx_variables: ['mariadb', 'mysql56'],
  calc_found_rows: ['mariadb', 'mysql97', 'mysql56'],
  reset_connection: ['mariadb', 'mysql97'],
  several_diagnostics: ['mariadb', 'mysql97', 'mysql56'],
} as const satisfies Record<string, readonly LabFlavour[]>;

export type Feature = keyof typeof FEATURES;

const WORDS = ['apple', 'Pear', 'käse', "o''neil", 'x', '', 'zebra crossing', '10', '3abc', 'ÄÖ'] as const;

export class Draw {
  readonly flavour: LabFlavour;
  readonly #random: Random;

  constructor(random: Random, flavour: LabFlavour) {
    this.#random = random;
    this.flavour = flavour;
  }

  /** A whole number from 0 up to, not with, `below`. */
  int(below: number): number {
    return this.#random(below);
  }

  /** True in so many of a hundred cases. */
  chance(percent: number): boolean {
    return this.#random(100) < percent;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.#random(list.length)]!;
  }

  /** One entry, each as likely as its weight says. */
  weighted<T extends { readonly weight: number }>(list: readonly T[]): T {
    let left = this.#random(list.reduce((sum, { weight }) => sum + weight, 0));
    for (const one of list) {
      left -= one.weight;
      if (left < 0) return one;
    }
    throw new Error('nothing to draw from');
  }

  has(feature: Feature): boolean {
    return (FEATURES[feature] as readonly LabFlavour[]).includes(this.flavour);
  }

  /** A key that most tables have a row for, or may soon have one for. */
  id(): number {
    return 1 + this.#random(10);
  }

  /** The inside of a string literal in single quotes. */
  word(): string {
    return this.pick(WORDS);
  }

  /** Digits to make a value unlike those of other steps, mostly. */
  fresh(): number {
    return this.#random(1_000_000);
  }
}
