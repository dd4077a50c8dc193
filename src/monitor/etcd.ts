/**
 * A client of etcd, as far as dbproxy needs one: leases, and transactions that compare. It speaks the JSON gateway of
 * etcd's v3 API (`/v3/…`, since etcd 3.4) over Node's own HTTP: the library for it brings gRPC along, twenty times of
 * what is here. All that is asked here needs a majority of etcd's members (reads are linearizable), so an answer is
 * that of the whole. https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { messageOf } from '../base/message-of.ts';
import type { Clock } from '../base/clock.ts';

export interface EtcdOptions {
  /** Members, as `http://10.0.0.1:2379`; asked one after the other until one answers. */
  readonly urls: readonly string[];
  readonly user?: string;
  readonly password?: string;
  /** Path of the authorities that https is trusted by. */
  readonly caPath?: string;
  /** For all that is done in one call. */
  readonly timeoutMs: number;
  readonly clock: Clock;
}

/** A key with its value, as of one moment. */
export interface EtcdEntry {
  readonly value: string;
  /** When the key was made, and when it was written last, as revisions of the whole store. */
  readonly createRevision: string;
  readonly modRevision: string;
  /** The lease that it goes with; `0`: none. */
  readonly lease: string;
}

/** What must hold for a transaction to write; `0`: there is no such key. */
export type EtcdCompare =
  | { readonly key: string; readonly createRevision: string }
  | { readonly key: string; readonly modRevision: string };

export interface EtcdPut {
  readonly key: string;
  readonly value: string;
  readonly lease?: string;
}

export interface EtcdTransaction {
  readonly compare: readonly EtcdCompare[];
  /** Written when all of that holds. */
  readonly put: readonly EtcdPut[];
  /** Read afterwards, in any case. */
  readonly read: readonly string[];
}

export interface EtcdOutcome {
  readonly succeeded: boolean;
  /** What was read, in that order; null: there is no such key. */
  readonly entries: readonly (EtcdEntry | null)[];
}

/** What dbproxy asks of etcd; a test may keep it in memory. */
export interface Etcd {
  /** Answers the id of a new lease, and how long it lasts; etcd may give more than was asked for. */
  grant(ttlMs: number): Promise<{ readonly id: string; readonly ttlMs: number }>;
  /** Answers how long it lasts from now on; 0: there is no such lease any more. */
  keepAlive(lease: string): Promise<number>;
  revoke(lease: string): Promise<void>;
  transact(transaction: EtcdTransaction): Promise<EtcdOutcome>;
  close(): void;
}

/** An answer that says no: asking another member would not change it. */
class Refused extends Error {
  /** As etcd's errors are numbered (those of gRPC). */
  readonly code: number;

  constructor(message: string, code: number) {
    super(message);
    this.code = code;
  }
}

type Json = Readonly<Record<string, unknown>>;

const MAX_ANSWER_BYTES = 2_000_000;
const NOT_FOUND = 5;
const UNAUTHENTICATED = 16;
/** Of which another member may know better: unavailable, deadline exceeded. */
const PERHAPS_ELSEWHERE: ReadonlySet<number> = new Set([4, 14]);

/** An etcd over the network. Throws when its authorities cannot be read. */
export function connectEtcd(options: EtcdOptions): Etcd {
  return new EtcdOverHttp(options);
}

class EtcdOverHttp implements Etcd {
  readonly #options: EtcdOptions;
  readonly #agent: http.Agent;
  /** The member that answered last. */
  #first = 0;
  #token: string | null = null;

  constructor(options: EtcdOptions) {
    this.#options = options;
    const { urls, caPath } = options;
    const common = { keepAlive: true, maxSockets: urls.length * 4 };
    const isSecure = urls[0]!.startsWith('https:');
    const ca = caPath === undefined ? {} : { ca: readFileSync(caPath, 'utf8') };
    this.#agent = isSecure ? new https.Agent({ ...common, ...ca }) : new http.Agent(common);
  }

  async grant(ttlMs: number): Promise<{ id: string; ttlMs: number }> {
    const { ID: id, TTL: seconds } = await this.#call('lease/grant', { TTL: Math.ceil(ttlMs / 1000) });
    if (typeof id !== 'string') throw new Error('etcd has granted a lease without an id');
    return { id, ttlMs: Number(seconds) * 1000 };
  }

  async keepAlive(lease: string): Promise<number> {
    const { result } = await this.#call('lease/keepalive', { ID: lease });
    return Number((result as Json | undefined)?.['TTL'] ?? 0) * 1000;
  }

  async revoke(lease: string): Promise<void> {
    try {
      await this.#call('lease/revoke', { ID: lease });
    } catch (error) {
      if (!(error instanceof Refused && error.code === NOT_FOUND)) throw error;
    }
  }

  async transact({ compare, put, read }: EtcdTransaction): Promise<EtcdOutcome> {
    const reads = read.map((key) => ({ request_range: { key: encode(key) } }));
    const puts = put.map(({ key, value, lease }) => ({
      request_put: { key: encode(key), value: encode(value), ...(lease !== undefined && { lease }) },
    }));
    const answer = await this.#call('kv/txn', {
      compare: compare.map(compareOf),
      success: [...puts, ...reads],
      failure: reads,
    });
    const responses = (answer['responses'] ?? []) as readonly Json[];
    const ranges = responses.flatMap(({ response_range: range }): Json[] =>
      range === undefined ? [] : [range as Json],
    );
    return {
      succeeded: answer['succeeded'] === true,
      entries: ranges.map(({ kvs }) => entryOf((kvs as readonly Json[] | undefined)?.[0])),
    };
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Asks one member after the other, each for its share of the time. */
  async #call(what: string, request: Json): Promise<Json> {
    const { urls, timeoutMs, clock } = this.#options;
    const untilMs = clock.nowMs() + timeoutMs;
    const reasons: string[] = [];
    for (let tried = 0; tried < urls.length; tried++) {
      const index = (this.#first + tried) % urls.length;
      const url = urls[index]!;
      const shareMs = Math.max(1, (untilMs - clock.nowMs()) / (urls.length - tried));
      try {
        const answer = await this.#askAs(url, what, request, shareMs);
        this.#first = index;
        return answer;
      } catch (error) {
        if (error instanceof Refused && !PERHAPS_ELSEWHERE.has(error.code)) throw error;
        reasons.push(`${url}: ${messageOf(error)}`);
      }
    }
    throw new Error(reasons.join('; '));
  }

  /** With the account, where there is one: its token is good for minutes, and for that member's life. */
  async #askAs(url: string, what: string, request: Json, timeoutMs: number): Promise<Json> {
    const { user, password } = this.#options;
    if (user === undefined) return this.#ask(url, what, request, timeoutMs, null);
    const logIn = async (): Promise<string> => {
      const { token } = await this.#ask(
        url,
        'auth/authenticate',
        { name: user, password: password ?? '' },
        timeoutMs,
        null,
      );
      return String(token);
    };
    const known = this.#token !== null;
    this.#token ??= await logIn();
    try {
      return await this.#ask(url, what, request, timeoutMs, this.#token);
    } catch (error) {
      const isStale = error instanceof Refused && error.code === UNAUTHENTICATED && known;
      if (!isStale) throw error;
      this.#token = null;
      this.#token = await logIn();
      return this.#ask(url, what, request, timeoutMs, this.#token);
    }
  }

  #ask(url: string, what: string, request: Json, timeoutMs: number, token: string | null): Promise<Json> {
    const { clock } = this.#options;
    const body = JSON.stringify(request);
    return new Promise((resolve, reject) => {
      const ask = url.startsWith('https:') ? https.request : http.request;
      const outgoing = ask(new URL(`/v3/${what}`, url), {
        method: 'POST',
        agent: this.#agent,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          ...(token !== null && { authorization: token }),
        },
      });
      const end = (finish: () => void): void => {
        timer.cancel();
        finish();
      };
      const fail = (error: Error): void => {
        outgoing.destroy();
        end(() => reject(error));
      };
      const timer = clock.after(timeoutMs, () =>
        fail(new Error(`no answer within ${Math.round(timeoutMs)} ms`)),
      );
      outgoing.on('error', fail);
      outgoing.once('response', (incoming) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        incoming.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          bytes += chunk.length;
          if (bytes > MAX_ANSWER_BYTES) fail(new Error('the answer is too long for one of etcd'));
        });
        incoming.on('error', fail);
        incoming.once('end', () => {
          try {
            const answer = readAnswer(Buffer.concat(chunks).toString('utf8'), incoming.statusCode ?? 0);
            end(() => resolve(answer));
          } catch (error) {
            fail(error instanceof Error ? error : new Error(messageOf(error)));
          }
        });
      });
      outgoing.end(body);
    });
  }
}

function readAnswer(text: string, status: number): Json {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(`it answers HTTP ${status} and no JSON: no etcd of version 3.4 or later?`);
  }
  if (typeof answer !== 'object' || answer === null)
    throw new Error(`it answers HTTP ${status} and no object`);
  const { error, message, code } = answer as Json;
  // A stream tells of an error inside of its answer.
  const problem =
    typeof error === 'object' && error !== null ? (error as Json)['message'] : (message ?? error);
  if (status !== 200 || problem !== undefined)
    throw new Refused(typeof problem === 'string' ? problem : `HTTP ${status}`, Number(code ?? 0));
  return answer as Json;
}

function compareOf(compare: EtcdCompare): Json {
  const key = encode(compare.key);
  return 'createRevision' in compare
    ? { key, target: 'CREATE', result: 'EQUAL', create_revision: compare.createRevision }
    : { key, target: 'MOD', result: 'EQUAL', mod_revision: compare.modRevision };
}

/** Numbers of 64 bits are texts here, and 0 is left out. */
function entryOf(found: Json | undefined): EtcdEntry | null {
  if (found === undefined) return null;
  const text = (name: string): string => (typeof found[name] === 'string' ? found[name] : '0');
  const value = typeof found['value'] === 'string' ? found['value'] : '';
  return {
    value: Buffer.from(value, 'base64').toString('utf8'),
    createRevision: text('create_revision'),
    modRevision: text('mod_revision'),
    lease: text('lease'),
  };
}

function encode(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}
