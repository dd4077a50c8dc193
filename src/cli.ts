#!/usr/bin/env node
/**
 * The program: reads the command line, has done what it asks, and ends with an exit code. This is the only
 * file that calls process.exit. The supervisor starts its workers with this same file and the argument
 * `worker`.
 *
 * One command has a road of its own, as it has no time to load all the others.
 */
import { parseCommandLine, type Command } from './cli/arguments.ts';
import { ignoreNoReader, taken } from './cli/output.ts';

for (const output of [process.stdout, process.stderr]) output.on('error', ignoreNoReader);
const exitCode = await main(parseCommandLine(process.argv.slice(2)));
await Promise.all([taken(process.stdout), taken(process.stderr)]);
process.exit(exitCode);

/** Does what a command asks; answers the exit code. */
async function main(command: Command): Promise<number> {
  try {
    if (command.name === 'keepalived-check') {
      const { keepalivedCheck } = await import('./cli/keepalived-check.ts');
      return await keepalivedCheck(command);
    }
    const { perform } = await import('./cli/program.ts');
    return await perform(command);
  } catch (error) {
    const { explain } = await import('./cli/explain.ts');
    return explain(error);
  }
}
