/**
 * Ends for sure what runs too long. `node:test` asks a test file that has had its time to end (SIGTERM); one that hangs
 * does not, and what it has started keeps its output open, so that the run would wait for ever.
 */
import { readdirSync, readFileSync } from 'node:fs';

interface Process {
  readonly pid: number;
  readonly parent: number;
  /** In clock ticks after the machine was started. */
  readonly started: number;
}

/** Of what /proc tells, on every Linux that Node.js runs on. */
const TICKS_PER_SECOND = 100;

/** Kills the children of this process that are older than the bound, each with all that comes of it; answers who was killed. */
export function killLateChildren(boundMs: number): number[] {
  const processes = allProcesses();
  const [uptimeSeconds] = readFileSync('/proc/uptime', 'utf8').split(' ');
  const startedBefore = (Number(uptimeSeconds) - boundMs / 1000) * TICKS_PER_SECOND;
  const late = processes.filter(({ parent, started }) => parent === process.pid && started < startedBefore);
  const killed = late.flatMap((one) => withDescendants(one, processes)).map(({ pid }) => pid);
  for (const pid of killed) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it ended with another one
    }
  }
  return killed;
}

function withDescendants(root: Process, processes: readonly Process[]): Process[] {
  const children = processes.filter(({ parent }) => parent === root.pid);
  return [root, ...children.flatMap((child) => withDescendants(child, processes))];
}

function allProcesses(): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        // The name of the program, in parentheses, may have blanks; the parent is the 4th field, the start the 22nd.
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return [{ pid: Number(name), parent: Number(fields[1]), started: Number(fields[19]) }];
      } catch {
        return []; // it has ended
      }
    });
}
