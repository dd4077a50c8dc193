/**
 * One call of `dbproxy keepalived notify`, from its words to its line: the turn, the state, the operator's command.
 */
import { refusal } from '../base/errors.ts';
import type { Clock } from '../base/clock.ts';
import type { ProxyConfig } from '../config/config.ts';
import type { CheckConfig } from '../config/for-check.ts';
import { vipAddress } from '../config/virtual-addresses.ts';
import { checkHost } from './check.ts';
import { ownAddresses } from '../base/own-addresses.ts';
import { hostWorld, runNotifyCommand } from './host.ts';
import { chooseVips, notify, type NotifyOutcome, type NotifyState } from './notify.ts';
import { lastState, startOfThisProcess, Turn } from './turns.ts';

export interface NotifyCall {
  readonly config: ProxyConfig;
  readonly check: CheckConfig;
  readonly clock: Clock;
  readonly state: NotifyState | 'status';
  /** As they were given; none: all of the configuration. */
  readonly vips: readonly string[];
}

/** Does it; throws DBPROXY_CONFIG for addresses that are not ours to touch. */
export async function runNotify(call: NotifyCall): Promise<NotifyOutcome> {
  const { config, clock, state } = call;
  const { keepalived, dbproxy } = config;
  const chosen = chooseVips(call.vips.length === 0 ? keepalived.vip : call.vips, keepalived.vip);
  if ('problem' in chosen) throw refusal('DBPROXY_CONFIG', chosen.problem);
  const { vips } = chosen;
  const addresses = vips.map(vipAddress);
  const key = addresses.toSorted().join(',');
  if (state === 'status') return statusOf(addresses, lastState(dbproxy.stateDir, key), call);
  const turn = new Turn(dbproxy.stateDir, key, startOfThisProcess(), state);
  const world = hostWorld(call.check, clock, () => turn.overtakenBy);
  const outcome = await notify(state, vips, config, world);
  const { notifyCommand, notifyTimeoutMs } = keepalived;
  if (notifyCommand === undefined || turn.before === state) return outcome;
  const change = { state, vips: addresses, words: outcome.words };
  const trouble = await runNotifyCommand(notifyCommand, change, clock, notifyTimeoutMs);
  return trouble === null ? outcome : { ...outcome, words: `${outcome.words}; ${trouble}` };
}

async function statusOf(
  addresses: readonly string[],
  last: string | null,
  { check, clock }: NotifyCall,
): Promise<NotifyOutcome> {
  const own = ownAddresses();
  const places = addresses.map((address) => `${address} ${own.includes(address) ? 'here' : 'not here'}`);
  const { isWell, why } = await checkHost(check, clock);
  const told = last === null ? 'keepalived has told nothing yet' : `keepalived told ${last}`;
  return { isWell: true, words: `${places.join(', ')}; ${told}; check: ${isWell ? '' : 'not well: '}${why}` };
}
