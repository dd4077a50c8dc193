/**
 * The command line of the bench.
 */
import { FLAVOURS, type ChaosFlavour } from '../test/chaos/options.ts';

export interface BenchOptions {
  /** A rough answer within a minute. */
  quick: boolean;
  /** Where the report goes as JSON; null: nowhere. */
  jsonPath: string | null;
  /** Only the questions whose name begins so; null: all. */
  only: string | null;
  /** Of the servers of the questions `failover` and `lag`; all others are asked of MariaDB. */
  flavour: ChaosFlavour;
}

export const USAGE =
  'usage: npm run bench -- [--quick] [--json [FILE]] [--only NAME] [--flavour mariadb|mysql97]';
export const DEFAULT_JSON_PATH = 'bench/results/latest.json';

/** Reads the arguments; answers a complaint where they make no sense. */
export function parseBenchArguments(args: readonly string[]): BenchOptions | string {
  const options: BenchOptions = { quick: false, jsonPath: null, only: null, flavour: 'mariadb' };
  const waiting = [...args];
  for (let argument = waiting.shift(); argument !== undefined; argument = waiting.shift()) {
    const [name, given] = splitAtEqualsSign(argument);
    // A value of its own, or the next argument unless that is an option.
    const value = (): string | null =>
      given ?? (waiting[0]?.startsWith('-') === false ? waiting.shift()! : null);
    switch (name) {
      case '--quick':
        options.quick = true;
        break;
      case '--json':
        options.jsonPath = value() ?? DEFAULT_JSON_PATH;
        break;
      case '--only':
        options.only = value();
        if (options.only === null) return '--only needs the name of a question';
        break;
      case '--flavour': {
        const given = value();
        const flavour = FLAVOURS.find((one) => one === given);
        if (flavour === undefined) return `--flavour needs ${FLAVOURS.join(' or ')}`;
        options.flavour = flavour;
        break;
      }
      default:
        return `${argument} is not known here`;
    }
  }
  return options;
}

function splitAtEqualsSign(argument: string): [string, string | null] {
  const at = argument.indexOf('=');
  return at === -1 ? [argument, null] : [argument.slice(0, at), argument.slice(at + 1)];
}
