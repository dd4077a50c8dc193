/** Looks at the other dbproxy of a pair as a dbproxy would, for the doctor; tells it nothing, and changes nothing. */
import type { Clock } from '../base/clock.ts';
import type { ProxyConfig } from '../config/config.ts';
import { differingParts, sharedPartOf } from '../config/shared-part.ts';
import type { PeerSight } from '../topology/peer-sight.ts';
import { openPeerLink } from './link.ts';
import { LOOK, parseMessage } from './message.ts';
import { troubleWords } from './trouble.ts';

const TIMEOUT_MS = 3_000;

/** Asks the other one of this configuration; null: there is none. Never rejects. */
export async function lookAtPeer(config: ProxyConfig, clock: Clock): Promise<PeerSight | null> {
  if (config.peer === undefined) return null;
  const link = openPeerLink(config.peer, config.admin, clock);
  const { address } = link;
  try {
    // The first answer needs a connection; how long the second one takes is all that is not known of the clocks.
    await link.ask(LOOK, TIMEOUT_MS);
    const sentMs = clock.wallMs();
    const { version, wallMs, config: theirs } = parseMessage(await link.ask(LOOK, TIMEOUT_MS));
    const cameMs = clock.wallMs();
    return {
      kind: 'answers',
      address,
      version,
      differing: differingParts(sharedPartOf(config), theirs),
      clockAheadMs: wallMs === null ? null : outside(wallMs, sentMs, cameMs),
    };
  } catch (error) {
    return { kind: 'silent', address, reason: troubleWords(error) };
  } finally {
    link.close();
  }
}

/** How far `atMs` lies before or behind the two moments; 0 between them. */
function outside(atMs: number, fromMs: number, toMs: number): number {
  return atMs > toMs ? atMs - toMs : Math.min(0, atMs - fromMs);
}
