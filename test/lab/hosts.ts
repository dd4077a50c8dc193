/**
 * Servers on hosts of their own, on one machine: each host is a network namespace with one cable to a switch, and a
 * cable can be pulled. All of it (the switch, the hosts, file systems that are mounted) belongs to a world that only
 * this process and its children see, and that is gone when they are: nothing is left behind, whatever happens.
 *
 * The program itself, dbproxy and the clients stand at the switch, at `SWITCH_ADDRESS`.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';

/** Where this program, dbproxy and the clients stand. */
export const SWITCH_ADDRESS = '10.99.0.254';
const NETWORK = 24;
/** Says, in the environment, that this process is in a world of its own already. */
const MARK = 'DBPROXY_OWN_NETWORK';

/**
 * Makes sure that this program runs in a world of its own: true when it does; else runs it there once more, with
 * the same arguments, and sets the exit code when that has ended.
 */
export async function insideOwnNetwork(): Promise<boolean> {
  if (process.env[MARK] === String(process.ppid)) {
    run('ip', 'link', 'set', 'lo', 'up');
    run('ip', 'link', 'add', 'switch', 'type', 'bridge');
    run('ip', 'addr', 'add', `${SWITCH_ADDRESS}/${NETWORK}`, 'dev', 'switch');
    run('ip', 'link', 'set', 'switch', 'up');
    return true;
  }
  const command = ['--pdeathsig', 'TERM', '--', 'unshare', '--net', '--mount', '--'];
  const child = spawn(
    'setpriv',
    [...command, process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    {
      stdio: 'inherit',
      env: { ...process.env, [MARK]: String(process.pid) },
    },
  );
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  process.exitCode = code ?? (signal === null ? 1 : 130);
  return false;
}

/** A file system in memory, of so many megabytes, that can be full. */
export function mountSmallDisk(path: string, megabytes: number): void {
  mkdirSync(path, { recursive: true });
  run('mount', '-t', 'tmpfs', '-o', `size=${megabytes}M`, 'tmpfs', path);
}

/** Takes it away again; what still uses it keeps it until then. */
export function unmountSmallDisk(path: string): void {
  run('umount', '--lazy', path);
}

/** One machine of the lab. */
export class Host {
  readonly name: string;
  readonly address: string;
  readonly #holder: ChildProcess;

  private constructor(name: string, address: string, holder: ChildProcess) {
    this.name = name;
    this.address = address;
    this.#holder = holder;
  }

  /** Number 1 is 10.99.0.1. */
  static async open(name: string, number: number): Promise<Host> {
    const address = `10.99.0.${number}`;
    const ready = ['sh', '-c', 'echo ready; exec sleep infinity'];
    const command = ['--pdeathsig', 'KILL', '--', 'unshare', '--net', '--', ...ready];
    const holder = spawn('setpriv', command, { stdio: ['ignore', 'pipe', 'ignore'] });
    await once(holder.stdout, 'data');
    const host = new Host(name, address, holder);
    run(
      'ip',
      'link',
      'add',
      host.#cable,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      String(holder.pid),
    );
    run('ip', 'link', 'set', host.#cable, 'master', 'switch', 'up');
    run(...host.command('ip', 'link', 'set', 'lo', 'up'));
    run(...host.command('ip', 'addr', 'add', `${address}/${NETWORK}`, 'dev', 'eth0'));
    run(...host.command('ip', 'link', 'set', 'eth0', 'up'));
    return host;
  }

  /** The command line that runs a program on this host. */
  command(...program: string[]): [string, ...string[]] {
    return ['nsenter', `--net=/proc/${this.#holder.pid}/ns/net`, '--', ...program];
  }

  /** Pulls the cable: nobody reaches it, and nobody is told. */
  cut(): void {
    run('ip', 'link', 'set', this.#cable, 'down');
  }

  /** Puts the cable back. */
  mend(): void {
    run('ip', 'link', 'set', this.#cable, 'up');
  }

  /** From where dbproxy and the clients stand nothing reaches this host; other hosts do. */
  hide(): void {
    run('ip', 'route', 'replace', 'blackhole', `${this.address}/32`);
  }

  /** Ends a `hide`. */
  show(): void {
    run('ip', 'route', 'del', 'blackhole', `${this.address}/32`);
  }

  close(): void {
    this.#holder.kill('SIGKILL');
  }

  get #cable(): string {
    return `to-${this.name}`;
  }
}

function run(...command: [string, ...string[]]): void {
  const [program, ...args] = command;
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}
