/** What is said of a server whose data is not what its primary has. */
import type { Divergence } from './state-file.ts';

/** What it has, or lacks. */
export function describeDivergence({ extras, kind }: Divergence, primary: string): string {
  if (kind === undefined) return `has what ${primary} has not: ${extras}`;
  if (kind === 'lacks')
    return `lacks ${extras}, which it had written itself and a crash had taken from it: it has passed over that when ${primary} sent it, and never gets it`;
  return `has ${extras}, which ${primary} had written and has not any more: its binary log was reset, or cut short by a crash, and it gives the same ids to other changes`;
}

/** And what is done about it. */
export function cureOfDivergence({ backend, kind }: Divergence): string {
  if (kind === undefined)
    return `SHOW LOST TRANSACTIONS ${backend} lists it, REJOIN ${backend} APPEND or DISCARD brings it back`;
  return `it takes no reads and is not elected; ${copyAdvice(backend)}`;
}

/** What is done about a server that follows nobody, and of which it is not known that it has anything of its own. */
export function followAdvice(backend: string, primary: string): string {
  return `REJOIN ${backend} has it follow ${primary}`;
}

/** What has to be done with a server that cannot be brought back as it is. */
export function copyAdvice(backend: string): string {
  return `CLONE BACKEND ${backend} copies it anew, and says how to empty it first`;
}
