/**
 * The command line, read: argv in, a command or a complaint out. Pure; `cli.ts` does what it says.
 */
import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import { didYouMean } from '../config/suggest.ts';

/** What the command line asks for. */
export type Command =
  | { name: 'run'; config: string | undefined }
  | { name: 'start'; config: string | undefined }
  | { name: 'check-config'; config: string | undefined }
  | { name: 'doctor'; config: string | undefined; batch: boolean; vip: boolean }
  | { name: 'init'; hosts: [string, string]; vips: string[]; directory: string }
  | { name: 'demo' }
  | { name: 'admin'; config: string | undefined; statement: string; batch: boolean }
  | { name: 'keepalived-config'; config: string | undefined; host: 1 | 2 | undefined }
  | { name: 'keepalived-check'; config: string | undefined; gateway?: string }
  | {
      name: 'keepalived-notify';
      config: string | undefined;
      state: Exclude<NotifyWord, 'check'>;
      vips: string[];
    }
  | { name: 'version' }
  | { name: 'worker' }
  | { name: 'help'; text: string }
  | { name: 'unavailable'; what: string }
  | { name: 'usage'; complaint: string };

interface CommandRow {
  name: string;
  usage: string;
  help: string;
  /** Options beyond --help. */
  options: readonly OptionName[];
  /** --vip takes addresses; with others it is a wish. */
  vipTakesAddresses?: true;
  /** Names of the words that follow the command. */
  words: readonly string[];
  /** Makes the command out of what was given. */
  read(given: Given): Command;
}

/** What keepalived's scripts may say or ask. */
const NOTIFY_WORDS = ['master', 'backup', 'fault', 'check', 'status'] as const;

type NotifyWord = (typeof NOTIFY_WORDS)[number];

const OPTIONS = {
  config: { type: 'string' },
  batch: { type: 'boolean' },
  vip: { type: 'boolean' },
  host: { type: 'string' },
  state: { type: 'string' },
  gw: { type: 'string' },
  hosts: { type: 'string' },
  to: { type: 'string' },
} as const;

type OptionName = keyof typeof OPTIONS;

/** What the command line gave. */
interface Given {
  config: string | undefined;
  batch: boolean;
  vip: boolean;
  host: string | undefined;
  state: string | undefined;
  /** What --vip was given, where it takes addresses. */
  vips: string | undefined;
  gw: string | undefined;
  hosts: string | undefined;
  to: string | undefined;
  words: string[];
}

/** Where `init` puts what it writes, unless --to says otherwise. */
const CONFIG_FOLDER = '/etc/dbproxy';

const COMMANDS: readonly CommandRow[] = [
  {
    name: 'init',
    usage: 'init --hosts=IP,IP --vip=IP[,IP] [--to=FOLDER]',
    help: `Writes the first proxy.conf of a pair of hosts into ${CONFIG_FOLDER}, with a certificate, what the servers have to be, and the SQL for its accounts: for the write address, and one for reads where a second --vip is given.`,
    options: ['hosts', 'vip', 'to'],
    vipTakesAddresses: true,
    words: [],
    read: readInit,
  },
  {
    name: 'run',
    usage: 'run [--config FILE]',
    help: 'Runs the proxy in the foreground until SIGTERM or SIGINT; a second signal stops it at once.',
    options: ['config'],
    words: [],
    read: ({ config }) => ({ name: 'run', config }),
  },
  {
    name: 'start',
    usage: 'start [--config FILE]',
    help: 'What npm start does: run when there is a configuration, else the demo.',
    options: ['config'],
    words: [],
    read: ({ config }) => ({ name: 'start', config }),
  },
  {
    name: 'check-config',
    usage: 'check-config [--config FILE]',
    help: 'Reads the configuration and lists all that is wrong with it; exit code 78 when something is.',
    options: ['config'],
    words: [],
    read: ({ config }) => ({ name: 'check-config', config }),
  },
  {
    name: 'doctor',
    usage: 'doctor [--config FILE] [--batch] [--vip]',
    help: 'Looks at the servers and this host and says what is missing, with what mends it; exit code 1 when more than hints is. --vip asks the network who has the virtual addresses.',
    options: ['config', 'batch', 'vip'],
    words: [],
    read: ({ config, batch, vip }) => ({ name: 'doctor', config, batch, vip }),
  },
  {
    name: 'demo',
    usage: 'demo',
    help: 'Runs two MariaDB servers in ./.demo and the proxy in front of them until Ctrl-C.',
    options: [],
    words: [],
    read: () => ({ name: 'demo' }),
  },
  {
    name: 'admin',
    usage: 'admin [--config FILE] [--batch] "STATEMENT"',
    help: 'Runs one statement on the admin port of the configuration; --batch prints tab-separated lines.',
    options: ['config', 'batch'],
    words: ['STATEMENT'],
    read: ({ config, batch, words }) => ({ name: 'admin', config, batch, statement: words[0]! }),
  },
  {
    name: 'keepalived',
    usage:
      'keepalived check|config|notify [--config FILE] [--host 1|2] [--state=STATE --vip=IP[,IP] [--gw=IP]]',
    help: 'check: should this host have the virtual addresses? config: prints keepalived.conf for this host (--host). notify: what its scripts call; STATE is master, backup, fault, check or status.',
    options: ['config', 'host', 'state', 'vip', 'gw'],
    vipTakesAddresses: true,
    words: ['check|notify|config'],
    read: readKeepalived,
  },
  {
    name: 'version',
    usage: 'version',
    help: 'Prints the version.',
    options: [],
    words: [],
    read: () => ({ name: 'version' }),
  },
];

const OVERVIEW = [
  'dbproxy: a read/write-splitting proxy for MySQL and MariaDB',
  '',
  'usage:',
  ...COMMANDS.map((row) => `  dbproxy ${row.usage}\n      ${row.help}`),
  '',
  'Without --config it is ./proxy.conf, or /etc/dbproxy/proxy.conf where the first is not there.',
  'Exit codes: 0 well, 1 what was asked about is not well, 64 usage, 69 something needed is missing,',
  '75 try again, 78 bad configuration.',
].join('\n');

/** Reads the arguments that follow the program's name. */
export function parseCommandLine(argv: readonly string[]): Command {
  const [name, ...rest] = argv;
  if (name === undefined) return { name: 'usage', complaint: 'a command is missing' };
  if (name === '--help' || name === '-h' || name === 'help') return { name: 'help', text: OVERVIEW };
  if (name === '--version') return { name: 'version' };
  // How the supervisor starts its workers; nobody types it.
  if (name === 'worker' && rest.length === 0) return { name: 'worker' };
  const row = COMMANDS.find((candidate) => candidate.name === name);
  if (row === undefined) {
    const hint = didYouMean(
      name,
      COMMANDS.map((candidate) => candidate.name),
    );
    return { name: 'usage', complaint: `there is no command '${name}'${hint}` };
  }
  return readCommand(row, rest);
}

function readCommand(row: CommandRow, args: string[]): Command {
  let parsed;
  try {
    parsed = parseArgs({
      args,
      options: {
        help: { type: 'boolean', short: 'h' },
        ...OPTIONS,
        vip: { type: row.vipTakesAddresses ? 'string' : 'boolean' },
      },
      allowPositionals: true,
    });
  } catch (error) {
    return { name: 'usage', complaint: `dbproxy ${row.name}: ${(error as Error).message}` };
  }
  const { values, positionals } = parsed;
  if (values.help) return { name: 'help', text: `usage: dbproxy ${row.usage}\n${row.help}` };
  const names = Object.keys(OPTIONS) as OptionName[];
  const foreign = names.find((key) => key in values && !row.options.includes(key));
  if (foreign !== undefined) return { name: 'usage', complaint: `dbproxy ${row.name} has no --${foreign}` };
  const wanted = row.words.length;
  if (positionals.length < wanted) {
    return { name: 'usage', complaint: `dbproxy ${row.name}: ${row.words[positionals.length]} is missing` };
  }
  if (positionals.length > wanted) {
    return {
      name: 'usage',
      complaint: `dbproxy ${row.name}: what is '${positionals[wanted]}'? (quote a statement)`,
    };
  }
  const { config, batch = false, vip, host, state, gw, hosts, to } = values;
  const vips = typeof vip === 'string' ? vip : undefined;
  return row.read({ config, batch, vip: vip === true, host, state, vips, gw, hosts, to, words: positionals });
}

function readKeepalived(given: Given): Command {
  const { config, host, words } = given;
  const action = words[0]!;
  const complain = (text: string): Command => ({ name: 'usage', complaint: `dbproxy keepalived ${text}` });
  if (host !== undefined && action !== 'config') return complain(`${action} has no --host`);
  const foreign = (['state', 'vips', 'gw'] as const).find((key) => given[key] !== undefined);
  if (foreign !== undefined && action !== 'notify')
    return complain(`${action} has no --${foreign === 'vips' ? 'vip' : foreign}`);
  switch (action) {
    case 'check':
      return { name: 'keepalived-check', config };
    case 'config':
      if (host !== undefined && host !== '1' && host !== '2')
        return complain(`config: --host is 1 or 2, not '${host}'`);
      return {
        name: 'keepalived-config',
        config,
        host: host === undefined ? undefined : host === '1' ? 1 : 2,
      };
    case 'notify':
      return readNotify(given);
    default:
      return complain(`has no '${action}'${didYouMean(action, ['check', 'config', 'notify'])}`);
  }
}

function readInit({ hosts, vips, to = CONFIG_FOLDER }: Given): Command {
  const complain = (text: string): Command => ({ name: 'usage', complaint: `dbproxy init: ${text}` });
  const [one, other, ...more] = addressesOf(hosts);
  if (one === undefined || other === undefined || more.length > 0)
    return complain('--hosts=IP,IP names the own addresses of two hosts');
  const virtual = addressesOf(vips);
  if (virtual.length === 0 || virtual.length > 2)
    return complain('--vip=IP[,IP] names the address for writes, and one for reads if you like');
  const wrong = [one, other, ...virtual.map((vip) => vip.split('/')[0]!)].find((text) => isIP(text) === 0);
  if (wrong !== undefined) return complain(`'${wrong}' is not an IP address`);
  return { name: 'init', hosts: [one, other], vips: virtual, directory: to };
}

function addressesOf(list: string | undefined): string[] {
  return list === undefined ? [] : list.split(',').map((one) => one.trim());
}

function readNotify({ config, state, vips: list, gw }: Given): Command {
  const complain = (text: string): Command => ({
    name: 'usage',
    complaint: `dbproxy keepalived notify: ${text}`,
  });
  const word = NOTIFY_WORDS.find((one) => one === state?.toLowerCase());
  if (word === undefined) {
    const told = state === undefined ? 'is missing' : `'${state}' is none of them`;
    return complain(`--state=${NOTIFY_WORDS.join('|')} ${told}${didYouMean(state ?? '', NOTIFY_WORDS)}`);
  }
  if (gw !== undefined && isIP(gw) === 0) return complain(`--gw=${gw} is not an IP address`);
  if (word === 'check') return { name: 'keepalived-check', config, ...(gw !== undefined && { gateway: gw }) };
  const vips = addressesOf(list);
  const wrong = vips.find((one) => isIP(one.split('/')[0]!) === 0);
  if (wrong !== undefined) return complain(`--vip: '${wrong}' is not an IP address`);
  if (vips.length === 0 && word !== 'status') return complain('--vip=IP[,IP] is missing');
  return { name: 'keepalived-notify', config, state: word, vips };
}
