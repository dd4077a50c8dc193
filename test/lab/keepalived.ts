/**
 * A real keepalived on a host of the lab, with no more configuration than two virtual addresses need that move together:
 * VRRP version 3 five times a second, BACKUP and nopreempt on both hosts, and a script that looks after dbproxy and the
 * gateway.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Host } from './hosts.ts';

export interface KeepalivedOptions {
  readonly host: Host;
  /** Its files are kept here. */
  readonly directory: string;
  readonly priority: number;
  /** IP/PREFIX each. */
  readonly vips: readonly string[];
  /** Ends with 0 while this host may hold them. */
  readonly checkScript: string;
  /** Is told of each change: `master`, `backup` or `fault` in `$state`. */
  readonly notifyScript: string;
}

export class Keepalived {
  /** All it has said. */
  output = '';
  readonly #options: KeepalivedOptions;
  #child: ChildProcess | null = null;

  constructor(options: KeepalivedOptions) {
    this.#options = options;
    mkdirSync(options.directory, { recursive: true });
    this.#write('check.sh', options.checkScript);
    this.#write('notify.sh', `state=$(printf %s "$3" | tr A-Z a-z)\n${options.notifyScript}`);
    writeFileSync(this.#path('keepalived.conf'), this.#configuration());
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
    for (const pid of this.#options.host.processes()) {
      if (isKeepalived(pid)) process.kill(pid, 'SIGKILL');
    }
    await ended;
  }

  #receive(line: string): void {
    this.output += `${line}\n`;
  }

  #configuration(): string {
    const { host, priority, vips } = this.#options;
    return `global_defs {
  router_id ${host.name}
  vrrp_version 3
  script_user root
}
vrrp_script dbproxy {
  script ${this.#path('check.sh')}
  interval 1
  timeout 2
  fall 3
  rise 1
}
vrrp_instance vi_dbproxy {
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority ${priority}
  advert_int 0.2
  garp_master_delay 1
  garp_master_refresh 5
  virtual_ipaddress {
${vips.map((vip) => `    ${vip} dev eth0\n`).join('')}  }
  track_script {
    dbproxy
  }
  notify ${this.#path('notify.sh')}
}
`;
  }

  #path(name: string): string {
    return join(this.#options.directory, name);
  }

  #write(name: string, script: string): void {
    writeFileSync(this.#path(name), `#!/bin/bash\n${script}\n`, { mode: 0o755 });
  }
}

function isKeepalived(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('keepalived');
  } catch {
    return false; // it has ended
  }
}
