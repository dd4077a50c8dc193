/**
 * What each path of the HTTP port answers: a table of paths, and one function from a request's method,
 * path and query to a reply. No sockets here.
 */
import { formatEndpoint } from '../base/address.ts';
import type { Operations } from '../ipc/operations.ts';
import { healthOf, notHere, type HealthQuestion } from './health.ts';
import { METRICS_CONTENT_TYPE, renderMetrics } from './metrics.ts';
import { WorkerTotals } from './totals.ts';

/** An answer, before it is written. */
export interface Reply {
  status: number;
  contentType: string;
  body: string;
  headers?: Record<string, string>;
}

/** One path. `rest` is what stands behind it and a slash, decoded; empty when nothing does. */
interface RouteRow {
  path: string;
  help: string;
  /** The path may go on: `/health/write/NAME`. */
  takesName: boolean;
  /** HAProxy's httpchk asks with OPTIONS when it is told a path only. */
  methods: readonly string[];
  answer(rest: string, query: URLSearchParams): Reply | Promise<Reply>;
}

const LOOK: readonly string[] = ['GET', 'HEAD'];
const CHECK: readonly string[] = ['GET', 'HEAD', 'OPTIONS'];
const MAX_EVENTS = 10_000;

/** The paths of one HTTP port, with what they keep between requests. */
export class Routes {
  readonly #operations: Operations;
  readonly #version: string;
  readonly #totals = new WorkerTotals();
  readonly #rows: readonly RouteRow[];

  constructor(operations: Operations, version: string) {
    this.#operations = operations;
    this.#version = version;
    const row = (
      path: string,
      help: string,
      answer: RouteRow['answer'],
      methods = LOOK,
      takesName = false,
    ): RouteRow => ({ path, help, answer, methods, takesName });
    this.#rows = [
      row('/', 'this list', () => text(200, this.#list())),
      row('/metrics', 'metrics for Prometheus', () => this.#metrics()),
      row('/health', 'the process answers', () => text(200, `dbproxy ${version} is running`), CHECK),
      row('/health/write', 'can a write be routed now (?cluster=NAME)', this.#health('write'), CHECK, true),
      row('/health/read', 'can a read be routed now (?cluster=NAME)', this.#health('read'), CHECK, true),
      row('/api/topology', 'the topology, as JSON', () => json(this.#topology())),
      row('/api/events', 'what happened, as JSON (?limit=N: the latest N)', (_rest, query) =>
        this.#events(query),
      ),
    ];
  }

  /** Answers a request. Whatever the target is, the answer is a reply. */
  async reply(method: string, target: string): Promise<Reply> {
    const url = readTarget(target);
    if (url === undefined) return text(400, 'the path cannot be read');
    const found = this.#find(url.path);
    if (found === undefined) return text(404, `there is nothing at ${url.path}; paths:\n${this.#list()}`);
    const { row, rest } = found;
    if (!row.methods.includes(method)) {
      const allow = row.methods.join(', ');
      return {
        ...text(405, `${method} is not possible at ${row.path}; possible: ${allow}`),
        headers: { allow },
      };
    }
    return row.answer(rest, url.query);
  }

  #find(path: string): { row: RouteRow; rest: string } | undefined {
    const trimmed = path.length > 1 ? path.replace(/\/+$/, '') : path;
    for (const row of this.#rows) {
      if (row.path === trimmed) return { row, rest: '' };
      if (row.takesName && trimmed.startsWith(`${row.path}/`)) {
        const rest = trimmed.slice(row.path.length + 1);
        if (!rest.includes('/')) return { row, rest };
      }
    }
    return undefined;
  }

  #list(): string {
    return this.#rows.map((row) => `${row.path.padEnd(16)} ${row.help}`).join('\n');
  }

  #health(question: HealthQuestion): RouteRow['answer'] {
    return (rest, query) => {
      const cluster = rest === '' ? (query.get('cluster') ?? undefined) : rest;
      const snapshot = this.#operations.snapshot();
      const answer = healthOf(question, snapshot, cluster);
      if (answer === 'unknown cluster') {
        const known = snapshot.clusters.map(({ name }) => name).join(', ');
        return text(404, `there is no cluster '${cluster}'; known: ${known}`);
      }
      const { listeners } = this.#operations.config();
      const absent = notHere(question, listeners, this.#operations.listeners(), cluster);
      return text(answer.well ? 200 : 503, [answer.reason, ...absent].join('; '));
    };
  }

  async #metrics(): Promise<Reply> {
    const workers = await this.#operations.stats();
    const body = await renderMetrics({
      snapshot: this.#operations.snapshot(),
      workers,
      listeners: this.#operations.listeners(),
      totals: this.#totals.update(workers),
      promotions: this.#operations.promotions(),
      lostCommits: this.#operations.lostCommits(),
      imports: this.#operations.imports(),
      stateTrouble: this.#operations.stateTrouble(),
      charges: this.#operations.charges(),
      peers: this.#operations.peers(),
      version: this.#version,
      uptimeMs: this.#operations.uptimeMs(),
      supervisorResidentBytes: process.memoryUsage.rss(),
    });
    return { status: 200, contentType: METRICS_CONTENT_TYPE, body };
  }

  #topology(): unknown {
    const { backends, ...rest } = this.#operations.snapshot();
    return {
      ...rest,
      backends: backends.map((backend) => ({ ...backend, address: formatEndpoint(backend.address) })),
    };
  }

  #events(query: URLSearchParams): Reply {
    const limit = query.get('limit') ?? String(MAX_EVENTS);
    if (!/^\d{1,6}$/.test(limit)) return text(400, `limit=${limit} is not a whole number`);
    const count = Math.min(Number(limit), MAX_EVENTS);
    const events = count === 0 ? [] : this.#operations.events().slice(-count);
    return json(events.map(({ wallMs, ...event }) => ({ time: new Date(wallMs).toISOString(), ...event })));
  }
}

/** One line (or a list) of plain text. */
export function text(status: number, line: string): Reply {
  return { status, contentType: 'text/plain; charset=utf-8', body: `${line}\n` };
}

function json(value: unknown): Reply {
  return { status: 200, contentType: 'application/json; charset=utf-8', body: `${JSON.stringify(value)}\n` };
}

/** Path and query of a request target, decoded; undefined for what is none. */
function readTarget(target: string): { path: string; query: URLSearchParams } | undefined {
  if (!target.startsWith('/')) return undefined;
  const [path, query = ''] = target.split('?', 2) as [string, string?];
  try {
    return { path: decodeURIComponent(path), query: new URLSearchParams(query) };
  } catch {
    return undefined;
  }
}
