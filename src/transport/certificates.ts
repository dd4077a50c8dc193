/**
 * The certificates of the listeners: loaded at the start, and loaded again when their files change or an
 * operator asks. A pair that cannot be used (half written, of two makes, gone) changes nothing: the old one
 * stays until a good one is there. Sessions that exist keep what they began with.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { authoritiesProblem, keyPairProblem, outOfTime } from '../base/key-pair.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { messageOf } from '../base/message-of.ts';
import { tlsServer } from './tls-stream.ts';

/** What a listener shows, and whose clients it trusts; all in PEM. */
export interface ListenerCertificates {
  listener: string;
  cert: string;
  key: string;
  ca: string | null;
}

/** Where a listener's certificates are. */
export interface CertificateFiles {
  listener: string;
  certPath: string;
  keyPath: string;
  caPath: string | null;
}

/** How an attempt to load went. */
export interface CertificateNews {
  listener: string;
  result: 'reloaded' | 'unchanged' | 'failed';
  detail: string;
}

/** A certificate is renewed by a program that runs at night; nobody waits for it. */
const LOOK_EVERY_MS = 2000;
const TICKET_KEY_BYTES = 48;

/** Secret bytes for the session tickets of all workers. */
export function newTicketKeys(): Buffer {
  return randomBytes(TICKET_KEY_BYTES);
}

/** Reads and checks a listener's files; throws with the reason when they cannot be used. */
export function loadCertificates(files: CertificateFiles): ListenerCertificates {
  const cert = readText(files.certPath);
  const key = readText(files.keyPath);
  const ca = files.caPath === null ? null : readText(files.caPath);
  const problem = keyPairProblem(cert, key) ?? (ca === null ? null : authoritiesProblem(ca));
  if (problem !== null) throw new Error(problem);
  // OpenSSL has opinions of its own, about short keys for example; no worker should be the first to hear them.
  tlsServer({ cert, key, ca, ticketKeys: newTicketKeys() });
  return { listener: files.listener, cert, key, ca };
}

function readText(path: string): string {
  return readFileSync(path, 'utf8');
}

export interface CertificateWatchOptions {
  listeners: readonly CertificateFiles[];
  clock: Clock;
  /** New certificates are there, for the workers. */
  onLoaded(certificates: ListenerCertificates): void;
  /** For the log and the events; not told of what is unchanged. */
  onNews(news: CertificateNews): void;
}

/** One listener's files, and what was last loaded from them. */
interface Watched {
  readonly files: CertificateFiles;
  current: ListenerCertificates;
  /** What the files looked like when they were last tried. */
  look: string;
}

export class CertificateWatch {
  readonly #options: CertificateWatchOptions;
  readonly #watched: Watched[];
  readonly #timer: Timer;

  /** Loads all certificates; throws when one cannot be used. */
  constructor(options: CertificateWatchOptions) {
    this.#options = options;
    this.#watched = options.listeners.map((files) => {
      const look = lookOf(files);
      try {
        return { files, current: loadCertificates(files), look };
      } catch (error) {
        throw new Error(`listener '${files.listener}': ${messageOf(error)}`, { cause: error });
      }
    });
    this.#timer = options.clock.every(LOOK_EVERY_MS, () => this.#look());
  }

  /** What is in force. */
  current(): ListenerCertificates[] {
    return this.#watched.map(({ current }) => current);
  }

  /** Loads all now, changed or not; one row a listener. */
  reload(): CertificateNews[] {
    return this.#watched.map((watched) => this.#load(watched));
  }

  close(): void {
    this.#timer.cancel();
  }

  #look(): void {
    for (const watched of this.#watched) if (lookOf(watched.files) !== watched.look) this.#load(watched);
  }

  #load(watched: Watched): CertificateNews {
    // Before they are read: what changes meanwhile is seen the next time.
    watched.look = lookOf(watched.files);
    const { listener } = watched.files;
    const news = this.#try(watched, listener);
    if (news.result !== 'unchanged') this.#options.onNews(news);
    return news;
  }

  #try(watched: Watched, listener: string): CertificateNews {
    let loaded: ListenerCertificates;
    try {
      loaded = loadCertificates(watched.files);
    } catch (error) {
      return { listener, result: 'failed', detail: `${messageOf(error)}; the old certificate stays` };
    }
    const { cert, key, ca } = watched.current;
    const complaint = outOfTime(loaded.cert, this.#options.clock.wallMs());
    const state = complaint === null ? 'the certificate is valid now' : `the certificate ${complaint}`;
    if (loaded.cert === cert && loaded.key === key && loaded.ca === ca) {
      return { listener, result: 'unchanged', detail: state };
    }
    watched.current = loaded;
    this.#options.onLoaded(loaded);
    return { listener, result: 'reloaded', detail: state };
  }
}

/** Changes when one of the files does. */
function lookOf({ certPath, keyPath, caPath }: CertificateFiles): string {
  return [certPath, keyPath, caPath]
    .map((path) => {
      const file = path === null ? undefined : statSync(path, { throwIfNoEntry: false });
      return file === undefined ? '-' : `${file.ino} ${file.mtimeMs} ${file.size}`;
    })
    .join(', ');
}
