/**
 * Who was called last. keepalived starts its scripts in the order of what happened, but they run at their own speed: one
 * that is slow must not do what a later one has undone. Each call leaves a file whose name is when its process started;
 * the last name counts, and whoever is not the last does nothing more. Files are never written over, so no two calls
 * can hide one another.
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { refusal } from '../base/errors.ts';

const DIGITS = 16;

/** One call, in its place among the others. */
export class Turn {
  readonly #folder: string;
  readonly #name: string;
  /** The state of the call before this one; null: there was none since the machine started. */
  readonly before: string | null;

  /** `start` orders calls, as `startOf` answers it; `key` says what the call is about. */
  constructor(folder: string, key: string, start: string, state: string) {
    this.#folder = join(folder, 'keepalived', key.replaceAll(/[^A-Za-z0-9.-]/g, '_'));
    this.#name = `${start}.${state}`;
    mkdirSync(this.#folder, { recursive: true, mode: 0o755 });
    const found = lstatSync(this.#folder);
    if (!found.isDirectory() || found.uid !== process.getuid?.())
      throw refusal('DBPROXY_CONFIG', `${this.#folder}: is not a folder of the user who runs this`);
    const boot = bootOf(this.#name);
    const others = readdirSync(this.#folder);
    const earlier = others.filter((name) => bootOf(name) === boot && name < this.#name).toSorted();
    this.before = earlier.at(-1)?.split('.').at(-1) ?? null;
    writeFileSync(join(this.#folder, this.#name), '');
    for (const name of others) {
      if (bootOf(name) !== boot || name < this.#name) rmSync(join(this.#folder, name), { force: true });
    }
  }

  /** The state of a later call; null: this is the last one. */
  get overtakenBy(): string | null {
    const last = readdirSync(this.#folder).toSorted().at(-1);
    return last === undefined || last <= this.#name ? null : last.split('.').at(-1)!;
  }
}

/** The state of the last call; null: there was none. */
export function lastState(folder: string, key: string): string | null {
  try {
    const names = readdirSync(join(folder, 'keepalived', key.replaceAll(/[^A-Za-z0-9.-]/g, '_')));
    return names.toSorted().at(-1)?.split('.').at(-1) ?? null;
  } catch {
    return null;
  }
}

/** When this process started: the boot of the machine, and the clock ticks since then; a shell that became it counts. */
export function startOfThisProcess(): string {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8);
  const stat = readFileSync('/proc/self/stat', 'utf8');
  // The name of the program, in parentheses, may have blanks; the start is the 22nd field.
  const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]!;
  return [boot, ticks.padStart(DIGITS, '0'), String(process.pid).padStart(DIGITS, '0')].join('.');
}

function bootOf(name: string): string {
  return name.split('.')[0]!;
}
