/**
 * A dbproxy of a pair on a machine that has no virtual addresses: as `src/cli.ts run`, and the addresses of its host are
 * those in the file `addresses` beside its configuration.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { openLog } from '../../src/base/log.ts';
import { PROGRAM_VERSION } from '../../src/base/version.ts';
import { loadConfig } from '../../src/config/load.ts';
import { startSupervisor } from '../../src/supervisor.ts';

const path = process.argv[process.argv.indexOf('--config') + 1]!;
const config = loadConfig(path, process.env);
const addresses = join(dirname(path), 'addresses');

const supervisor = await startSupervisor({
  config,
  log: openLog({ level: config.dbproxy.logLevel, format: config.dbproxy.logFormat }),
  clock: systemClock,
  version: PROGRAM_VERSION,
  serviceManager: null,
  onExit: (code) => process.exit(code),
  hostAddresses: () => new Set(readFileSync(addresses, 'utf8').split('\n')),
  workerEntry: { exec: join(import.meta.dirname, '../../src/cli.ts'), args: ['worker'] },
});
process.once('SIGTERM', () => void supervisor.stop(false).then(() => process.exit(0)));
