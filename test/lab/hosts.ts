/**
 * Servers on hosts of their own, on one machine: each host is a network namespace with one cable to a switch, and a
 * cable can be pulled. All of it (the switch, the hosts, file systems that are mounted) belongs to a world that only
 * this process and its children see, and that is gone when they are: nothing is left behind, whatever happens.
 *
 * The program itself, dbproxy and the clients stand at the switch, at `SWITCH_ADDRESS`.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';

/** Where this program, dbproxy and the clients stand. */
export const SWITCH_ADDRESS = '10.99.0.254';
const NETWORK = 24;
const HIGH_PRIORITY = -14;
const OF_SESSION = '/proc/self/autogroup';
/** Says, in the environment, that this process is in a world of its own already. */
const MARK = 'DBPROXY_OWN_NETWORK';

/** Why this machine has no such worlds, in words; null when it has. */
export function whyNoOwnNetwork(): string | null {
  if (process.getuid?.() !== 0) return 'networks of their own are for root only, and this is not root';
  const tried = spawnSync('unshare', ['--net', '--mount', 'ip', 'link', 'add', 'switch', 'type', 'bridge'], {
    encoding: 'utf8',
  });
  if (tried.status === 0) return null;
  const why = tried.error?.message ?? tried.stderr.trim();
  return `this machine lets nobody make a network of his own with a bridge in it (${why})`;
}

/**
 * Makes sure that this program runs in a world of its own: true when it does; else runs it there once more, with
 * the same arguments, and sets the exit code when that has ended. `address`: its own at the switch.
 */
export async function insideOwnNetwork(address = SWITCH_ADDRESS): Promise<boolean> {
  if (process.env[MARK] === String(process.ppid)) {
    run('ip', 'link', 'set', 'lo', 'up');
    run('ip', 'link', 'add', 'switch', 'type', 'bridge');
    run('ip', 'addr', 'add', `${address}/${NETWORK}`, 'dev', 'switch');
    run('ip', 'link', 'set', 'switch', 'up');
    return true;
  }
  const command = ['--pdeathsig', 'TERM', '--', 'unshare', '--net', '--mount', '--'];
  const child = spawn(
    'setpriv',
    [...command, process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    {
      stdio: 'inherit',
      // A session of its own, which `goFirst` is about. Signals of a terminal are handed on.
      detached: true,
      env: { ...process.env, [MARK]: String(process.pid) },
    },
  );
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  process.exitCode = code ?? (signal === null ? 1 : 130);
  return false;
}

/**
 * From now on this process and what it starts come before other work of this machine, for what goes by the clock as VRRP
 * does. Where the kernel shares out its time by session (autogroup) it is that of this session that counts.
 */
export function goFirst(): void {
  setPriority(HIGH_PRIORITY);
  if (!existsSync(OF_SESSION)) return;
  writeFileSync(OF_SESSION, String(HIGH_PRIORITY));
  // A server of the lab begins a session of its own.
  firstly = ['sh', '-c', `echo ${HIGH_PRIORITY} > ${OF_SESSION}; exec "$@"`, 'sh'];
}

/** What has programs on hosts go first. */
let firstly: readonly string[] = [];

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
  #holder: ChildProcess | null = null;

  private constructor(name: string, address: string) {
    this.name = name;
    this.address = address;
  }

  /** Number 1 is 10.99.0.1. */
  static async open(name: string, number: number): Promise<Host> {
    const host = new Host(name, `10.99.0.${number}`);
    await host.powerOn();
    return host;
  }

  /** Gives it its network, after `powerOff`; nothing else runs on it then. */
  async powerOn(): Promise<void> {
    const ready = ['sh', '-c', 'echo ready; exec sleep infinity'];
    const command = ['--pdeathsig', 'KILL', '--', 'unshare', '--net', '--', ...ready];
    const holder = spawn('setpriv', command, { stdio: ['ignore', 'pipe', 'ignore'] });
    await once(holder.stdout, 'data');
    // It keeps no program from ending.
    holder.unref();
    holder.stdout.destroy();
    this.#holder = holder;
    const cable = ['ip', 'link', 'add', this.#cable, 'type', 'veth', 'peer', 'name', 'eth0'] as const;
    run(...cable, 'address', this.#card, 'netns', String(holder.pid));
    run('ip', 'link', 'set', this.#cable, 'master', 'switch', 'up');
    run(...this.command('ip', 'link', 'set', 'lo', 'up'));
    run(...this.command('ip', 'addr', 'add', `${this.address}/${NETWORK}`, 'dev', 'eth0'));
    run(...this.command('ip', 'link', 'set', 'eth0', 'up'));
  }

  /** Its cable is dead first, so nobody hears it die; then all its processes are, and the addresses that it had taken. */
  powerOff(): void {
    run('ip', 'link', 'del', this.#cable);
    for (const pid of this.processes()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it ended with another one
      }
    }
    this.#holder = null;
  }

  get isOn(): boolean {
    return this.#holder !== null;
  }

  /** All that runs on it. */
  processes(): number[] {
    if (this.#holder === null) return [];
    const networkOf = (pid: string): string | null => {
      try {
        return readlinkSync(`/proc/${pid}/ns/net`);
      } catch {
        return null; // it has ended
      }
    };
    const network = networkOf(String(this.#holder.pid));
    return readdirSync('/proc')
      .filter((pid) => /^\d+$/.test(pid) && networkOf(pid) === network)
      .map(Number);
  }

  /** The addresses that it has at the switch now, its own and those that keepalived has given it. */
  addresses(): string[] {
    if (this.#holder === null) return [];
    const [program, ...args] = this.command('ip', '-json', 'address', 'show', 'dev', 'eth0');
    const [link] = JSON.parse(execFileSync(program, args, { encoding: 'utf8' })) as {
      addr_info: { local: string }[];
    }[];
    return link!.addr_info.map(({ local }) => local);
  }

  /** The command line that runs a program on this host. */
  command(...program: string[]): [string, ...string[]] {
    if (this.#holder === null) throw new Error(`${this.name} is switched off`);
    return ['nsenter', `--net=/proc/${this.#holder.pid}/ns/net`, '--', ...firstly, ...program];
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

  /** Apart: nothing passes between it and others that are apart, neither frames nor broadcasts; all else reaches both. */
  setApart(apart: boolean): void {
    run('bridge', 'link', 'set', 'dev', this.#cable, 'isolated', apart ? 'on' : 'off');
  }

  /** Deaf: multicasts, which is how VRRP speaks, do not reach it; what it says itself reaches all. */
  setDeaf(deaf: boolean): void {
    run('bridge', 'link', 'set', 'dev', this.#cable, 'mcast_flood', deaf ? 'off' : 'on');
  }

  close(): void {
    this.#holder?.kill('SIGKILL');
  }

  /** Its network card is the same after each `powerOn`: the neighbours remember it. */
  get #card(): string {
    const number = Number(this.address.split('.').at(-1));
    return `02:00:00:00:00:${number.toString(16).padStart(2, '0')}`;
  }

  get #cable(): string {
    return `to-${this.name}`;
  }
}

function run(...command: [string, ...string[]]): void {
  const [program, ...args] = command;
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}
