/**
 * `dbproxy keepalived check`, which keepalived asks each second and waits half a second for, on a host that may be busy.
 * So whatever is loaded for it is what it needs, and no package.
 */
import { systemClock } from '../base/clock.ts';
import { loadCheckConfig } from '../config/for-check.ts';
import { checkHost } from '../keepalived/check.ts';
import type { Command } from './arguments.ts';
import { EXIT } from './exit-codes.ts';
import { findConfig } from './find-config.ts';
import { print } from './output.ts';

/** Says why this host should have the virtual addresses, or not; answers the exit code. */
export async function keepalivedCheck({
  config: given,
  gateway,
}: Command & { name: 'keepalived-check' }): Promise<number> {
  const config = loadCheckConfig(await findConfig(given), process.env);
  const { isWell, why } = await checkHost({ ...config, gateway: gateway ?? config.gateway }, systemClock);
  print(why);
  return isWell ? EXIT.well : EXIT.notWell;
}
