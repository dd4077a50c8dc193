/**
 * What processes have used, as the kernel counts it in /proc: CPU time and memory.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

/** The unit of times in /proc/PID/stat: fixed for all architectures of Linux. */
const TICKS_PER_SECOND = 100;

/** A process and all its descendants, as they are now. */
export function processTree(root: number): number[] {
  const childrenOf = new Map<number, number[]>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const fields = statFields(Number(pid));
    if (fields === null) continue;
    const parent = Number(fields[1]);
    childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), Number(pid)]);
  }
  const tree = [root];
  for (const pid of tree) tree.push(...(childrenOf.get(pid) ?? []));
  return tree;
}

/** User and system time of the processes together, all their threads, in microseconds. */
export function cpuMicros(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const fields = statFields(pid);
    if (fields === null) throw new Error(`process ${pid} of a proxy has ended during the bench`);
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return (ticks / TICKS_PER_SECOND) * 1_000_000;
}

/** Memory that a process holds now. */
export function residentMegabytes(pid: number): number {
  return statusMegabytes(pid, 'VmRSS');
}

/** The most memory that it held since `resetPeak`. */
export function peakMegabytes(pid: number): number {
  return statusMegabytes(pid, 'VmHWM');
}

/** Begins a new measurement of the peak. */
export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

/** The fields after the program's name, which may itself hold blanks; null when the process is gone. */
function statFields(pid: number): string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

function statusMegabytes(pid: number, key: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)?.[1];
  if (kilobytes === undefined) throw new Error(`/proc/${pid}/status has no ${key}`);
  return (Number(kilobytes) * 1024) / 1_000_000;
}
