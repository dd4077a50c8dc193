/**
 * The command line, read: argv in, a command or a complaint out. Pure; `cli.ts` does what it says.
 */
import { parseArgs } from 'node:util';

/** What the command line asks for. */
export type Command =
  | { name: 'run'; config: string | undefined }
  | { name: 'start'; config: string | undefined }
  | { name: 'check-config'; config: string | undefined }
  | { name: 'doctor'; config: string | undefined; batch: boolean }
  | { name: 'demo' }
  | { name: 'admin'; config: string | undefined; statement: string; batch: boolean }
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
  options: readonly ('config' | 'batch')[];
  /** Names of the words that follow the command. */
  words: readonly string[];
  /** Makes the command out of what was given. */
  read(given: { config: string | undefined; batch: boolean; words: string[] }): Command;
}

const COMMANDS: readonly CommandRow[] = [
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
    usage: 'doctor [--config FILE] [--batch]',
    help: 'Looks at the servers and says what is missing, with what mends it; exit code 1 when more than hints is.',
    options: ['config', 'batch'],
    words: [],
    read: ({ config, batch }) => ({ name: 'doctor', config, batch }),
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
    usage: 'keepalived check|notify|config',
    help: 'For keepalived (not available in this version).',
    options: ['config'],
    words: ['check|notify|config'],
    read: ({ words }) => ({ name: 'unavailable', what: `dbproxy keepalived ${words[0]}` }),
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
  if (row === undefined) return { name: 'usage', complaint: `there is no command '${name}'` };
  return readCommand(row, rest);
}

function readCommand(row: CommandRow, args: string[]): Command {
  let parsed;
  try {
    parsed = parseArgs({
      args,
      options: {
        help: { type: 'boolean', short: 'h' },
        config: { type: 'string' },
        batch: { type: 'boolean' },
      },
      allowPositionals: true,
    });
  } catch (error) {
    return { name: 'usage', complaint: `dbproxy ${row.name}: ${(error as Error).message}` };
  }
  const { values, positionals } = parsed;
  if (values.help) return { name: 'help', text: `usage: dbproxy ${row.usage}\n${row.help}` };
  const foreign = (['config', 'batch'] as const).find((key) => key in values && !row.options.includes(key));
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
  return row.read({ config: values.config, batch: values.batch ?? false, words: positionals });
}
