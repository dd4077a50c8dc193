/** Data directories of servers, copied from a template. */
import { randomUUID } from 'node:crypto';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Makes `directory/data` as it is in the template. The server gets an id of its own: MySQL 5.6 makes its from the
 * second and the clock, and two that are started together may come to the same one.
 */
export async function copyData(template: string, directory: string): Promise<void> {
  const data = join(directory, 'data');
  await cp(join(template, 'data'), data, { recursive: true });
  await writeFile(join(data, 'auto.cnf'), `[auto]\nserver-uuid=${randomUUID()}\n`);
}
