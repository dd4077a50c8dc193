/**
 * A real keepalived on a host of the lab, with the configuration that `dbproxy keepalived config` prints there: its check
 * and notify commands are this program's own.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Host } from './hosts.ts';

const CLI = join(import.meta.dirname, '../../src/cli.ts');

export interface KeepalivedOptions {
  readonly host: Host;
  /** Its files are kept here. */
  readonly directory: string;
  /** The proxy.conf of this host. */
  readonly proxyConfigPath: string;
}

export class Keepalived {
  /** All it has said. */
  output = '';
  readonly #options: KeepalivedOptions;
  #child: ChildProcess | null = null;
  /** Where in its output this start begins. */
  #from = 0;

  /** Has its configuration made, as an operator does, and tried by keepalived itself. */
  constructor(options: KeepalivedOptions) {
    this.#options = options;
    mkdirSync(options.directory, { recursive: true });
    const path = options.proxyConfigPath;
    const text = this.#run(process.execPath, CLI, 'keepalived', 'config', '--config', path);
    writeFileSync(this.#path('keepalived.conf'), text);
    this.#run('keepalived', '--config-test', '-f', this.#path('keepalived.conf'));
  }

  start(): void {
    // What a killed one has left may name a process that is dead and that nobody has buried yet.
    for (const name of ['pid', 'vrrp.pid']) rmSync(this.#path(name), { force: true });
    const program = ['keepalived', '--dont-fork', '--vrrp', '--log-console', '--log-detail'];
    const files = [
      '-f',
      this.#path('keepalived.conf'),
      '-p',
      this.#path('pid'),
      '-r',
      this.#path('vrrp.pid'),
    ];
    const command = this.#options.host.command(...program, ...files);
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#from = this.output.length;
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => this.#receive(line));
    child.once('close', () => (this.#child = null));
  }

  /** An orderly end: it gives the addresses up and says so to the other one. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const ended = once(child, 'close');
    child.kill('SIGTERM');
    await ended;
  }

  /** A crash of the whole program: the addresses stay where they are, and nobody speaks for them. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const ended = once(child, 'close');
    const pids = this.#options.host.processes().filter(isKeepalived);
    // One that sees its parent end takes the addresses away.
    for (const signal of ['SIGSTOP', 'SIGKILL'] as const) for (const pid of pids) process.kill(pid, signal);
    await ended;
  }

  /** The state that it has told last: MASTER, BACKUP or FAULT; null: none since its start. */
  get state(): string | null {
    const told = [...this.output.slice(this.#from).matchAll(/Entering (\w+) STATE/g)];
    return told.at(-1)?.[1] ?? null;
  }

  /** What it is answered when it asks whether this host should have the addresses. */
  check(): { isWell: boolean; words: string } {
    const path = this.#options.proxyConfigPath;
    const program = [process.execPath, CLI, 'keepalived', 'check', '--config', path];
    const [command, ...args] = this.#options.host.command(...program);
    const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' });
    return { isWell: status === 0, words: stdout.trim() };
  }

  #receive(line: string): void {
    this.output += `${line}\n`;
  }

  #run(...program: string[]): string {
    const [command, ...args] = this.#options.host.command(...program);
    return execFileSync(command, args, { encoding: 'utf8' });
  }

  #path(name: string): string {
    return join(this.#options.directory, name);
  }
}

function isKeepalived(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('keepalived');
  } catch {
    return false; // it has ended
  }
}
