/**
 * The command line of the chaos run.
 */
import type { ChaosFlavour } from './cluster.ts';
import { PROXY_FAULTS, SERVER_FAULTS, type FaultKind } from './faults.ts';

export type { ChaosFlavour } from './cluster.ts';

export interface ChaosRunOptions {
  readonly minutes: number;
  readonly flavour: ChaosFlavour;
  readonly seed: number;
  readonly servers: number;
  /** The faults to draw from. */
  readonly only: readonly FaultKind[];
  /** Where everything that dbproxy logs is kept, round by round; null: nowhere. */
  readonly logPath: string | null;
  /** Not faults, but a switchover every few seconds. */
  readonly switchovers: boolean;
  /** Servers flush each commit. */
  readonly durable: boolean;
}

export const USAGE =
  'usage: npm run chaos -- [--minutes N] [--flavour mariadb|mysql97] [--seed S] [--servers 2|3] [--only FAULT,…] [--log FILE] [--durable] [--switchovers]';

export const FLAVOURS: readonly ChaosFlavour[] = ['mariadb', 'mysql97'];
const FAULTS: readonly FaultKind[] = [...SERVER_FAULTS, ...PROXY_FAULTS];

/** Reads the arguments; answers a complaint where they make no sense. */
export function parseChaosArguments(args: readonly string[]): ChaosRunOptions | string {
  const options = {
    minutes: 5,
    flavour: FLAVOURS[0]!,
    seed: 1,
    servers: 2,
    only: FAULTS,
    logPath: null as string | null,
    switchovers: false,
    durable: false,
  };
  const waiting = args.flatMap((argument) => argument.split('='));
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    if (name === '--switchovers' || name === '--durable') {
      options[name === '--durable' ? 'durable' : 'switchovers'] = true;
      continue;
    }
    const value = waiting.shift();
    if (value === undefined) return `${name} needs a value`;
    const number = Number(value);
    switch (name) {
      case '--minutes':
        if (!(number > 0)) return `--minutes ${value}: a number above 0`;
        options.minutes = number;
        break;
      case '--seed':
        if (!Number.isInteger(number)) return `--seed ${value}: a whole number`;
        options.seed = number;
        break;
      case '--servers':
        if (number !== 2 && number !== 3) return `--servers ${value}: 2 or 3`;
        options.servers = number;
        break;
      case '--log':
        options.logPath = value;
        break;
      case '--flavour': {
        const flavour = FLAVOURS.find((one) => one === value);
        if (flavour === undefined) return `--flavour ${value}: ${FLAVOURS.join(' or ')}`;
        options.flavour = flavour;
        break;
      }
      case '--only': {
        const only = value.split(',').map((word) => FAULTS.find((one) => one === word));
        if (only.includes(undefined)) return `--only ${value}: of ${FAULTS.join(', ')}`;
        options.only = only as FaultKind[];
        break;
      }
      default:
        return `${name} is not known here`;
    }
  }
  return options;
}
