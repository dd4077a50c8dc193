/**
 * What the sessions of one endpoint that change connections have in common, in one worker.
 */
import { randomBytes } from 'node:crypto';
import type { LaneTerms } from '../backend/pool.ts';
import type { ListenerConfig, ProxyConfig } from '../config/config.ts';
import type { Snapshot } from '../topology/snapshot.ts';
import { CausalReads } from './causal.ts';
import { CommitMarks } from './commit-marks.ts';
import type { ServerFacts, SharedEndpoint } from './context.ts';
import { KnownLogins } from './known-logins.ts';
import { KnownSettings } from './known-settings.ts';
import { Digests } from './digests.ts';
import { Rules } from './rules.ts';
import { HiddenCodeWatch } from './hidden-code.ts';
import type { WriteHold } from './hold.ts';
import { factsOf, sameFacts } from './server-facts.ts';

export class EndpointShares implements SharedEndpoint {
  readonly hold: WriteHold;
  readonly causal = new CausalReads();
  readonly knownSettings = new KnownSettings();
  readonly logins = new KnownLogins();
  readonly hiddenCode: HiddenCodeWatch;
  readonly passwords = new Set<string>();
  readonly introduced = new Set<string>();
  readonly retries = new Map<string, number>();
  readonly rules: Rules;
  readonly digests: Digests;
  readonly laneTerms: LaneTerms | null;
  readonly marks: CommitMarks | null;
  pipelined = 0;
  restores = 0;
  readonly #cluster: string;
  #facts: ServerFacts;
  #primary: string | null = null;

  /** `hold`: of the cluster, for all its endpoints. */
  constructor(listener: ListenerConfig, config: ProxyConfig, snapshot: Snapshot, hold: WriteHold) {
    this.hold = hold;
    this.hiddenCode = new HiddenCodeWatch(listener.mode === 'read');
    this.rules = new Rules(config.rules, listener.name);
    this.digests = new Digests(config.dbproxy.digestLimit);
    this.laneTerms = laneTermsOf(listener);
    this.marks = listener.markCommits ? new CommitMarks(randomBytes(6).toString('hex')) : null;
    this.#cluster = listener.cluster;
    this.#facts = factsOf(snapshot, listener.cluster);
    this.take(snapshot);
  }

  facts(): ServerFacts {
    return this.#facts;
  }

  /** A newer snapshot. */
  take(snapshot: Snapshot): void {
    const facts = factsOf(snapshot, this.#cluster);
    const primary = snapshot.clusters.find(({ name }) => name === this.#cluster)?.primary ?? null;
    const isSame = sameFacts(facts, this.#facts);
    if (!isSame) this.#facts = facts;
    // While there is none, logins go on as they are known; one that comes back may have started anew.
    const isAnother = primary !== null && primary !== this.#primary;
    // Another server may give other values for the same words.
    if (!isSame || isAnother) {
      this.knownSettings.clear();
      this.logins.clear();
      this.hiddenCode.forget();
    }
    if (isAnother) this.causal.primaryEra++;
    this.#primary = primary;
    for (const backend of snapshot.backends) if (!backend.readable) this.causal.forget(backend.name);
  }

  /** A replica has been seen with this position. */
  learn(replica: string, position: string): void {
    this.causal.learn(replica, position);
  }
}

/** True where sessions may change connections. */
export function sharesConnections(listener: ListenerConfig): boolean {
  return listener.mode === 'split' || listener.pool === 'transaction' || staysHome(listener);
}

/**
 * True where a session keeps one connection to a server of its side, and changes it only when that server is not of that
 * side any more: another one has become the primary, or may read in its place.
 */
export function staysHome({ mode, pool, sessionMoves }: ListenerConfig): boolean {
  return mode !== 'split' && pool === 'session' && sessionMoves;
}

function laneTermsOf({ pipelining, pipelineDepth, pipelineThresholdMs }: ListenerConfig): LaneTerms | null {
  if (pipelining === 'off') return null;
  return { sharesFirst: pipelining === 'on', mostRiders: pipelineDepth, fastMs: pipelineThresholdMs };
}
