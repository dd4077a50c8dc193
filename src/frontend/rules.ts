/**
 * The `[rule]` sections at work: which of them is the first that fits a statement, and how often each was.
 */
import type { RuleConfig } from '../config/config.ts';
import type { RouteHint } from '../sql/statement.ts';

interface Rule {
  readonly config: RuleConfig;
  readonly digestHigh: number;
  readonly digestLow: number;
  hits: number;
}

export class Rules {
  readonly #rules: readonly Rule[];

  /** Those that may fit on `listener`, in the order of the file. */
  constructor(rules: readonly RuleConfig[], listener: string) {
    this.#rules = rules
      .filter((config) => config.listener === undefined || config.listener === listener)
      .map((config) => ({
        config,
        digestHigh: Number.parseInt(config.digest?.slice(2, 10) ?? '0', 16) | 0,
        digestLow: Number.parseInt(config.digest?.slice(10) ?? '0', 16) | 0,
        hits: 0,
      }));
  }

  /** What the first rule that fits says, which counts a hit; 'none' when none does. */
  wishFor(user: string, digestHigh: number, digestLow: number): RouteHint {
    const rule = this.#first(user, digestHigh, digestLow);
    if (rule === undefined) return 'none';
    rule.hits++;
    return rule.config.target;
  }

  /** The first rule that fits, without counting; null when none does. */
  peek(user: string, digestHigh: number, digestLow: number): RuleConfig | null {
    return this.#first(user, digestHigh, digestLow)?.config ?? null;
  }

  /** Some of them are about one user only. */
  get dependOnUser(): boolean {
    return this.#rules.some(({ config }) => config.user !== undefined);
  }

  hits(): { name: string; hits: number }[] {
    return this.#rules.map(({ config, hits }) => ({ name: config.name, hits }));
  }

  #first(user: string, digestHigh: number, digestLow: number): Rule | undefined {
    for (const rule of this.#rules) {
      const { config } = rule;
      if (config.user !== undefined && config.user !== user) continue;
      const hasDigest = config.digest !== undefined;
      if (hasDigest && (rule.digestHigh !== (digestHigh | 0) || rule.digestLow !== (digestLow | 0))) continue;
      return rule;
    }
    return undefined;
  }
}
