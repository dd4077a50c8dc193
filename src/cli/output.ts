/** What the program says to who has called it. */

/** A line of what was asked for. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A line about what went wrong. */
export function complain(text: string): void {
  process.stderr.write(`dbproxy: ${text}\n`);
}

/** Resolves when all that was written has been taken: a pipe takes 64 KB, and the rest when its reader does. */
export function taken(output: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => output.write('', () => resolve()));
}

/** Who reads no further, as `head` does, wants no more, and no complaint. */
export function ignoreNoReader(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}
