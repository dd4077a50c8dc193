/**
 * What frameworks and drivers send, from their connection set-ups on: captured from a server's general log
 * (test/vectors/capture-frameworks.ts), or read in their source code where they could not be run.
 */
import { readFileSync } from 'node:fs';

/** What one connection sends, in order; each line is the command of the protocol, a colon, and the text. */
export interface FrameworkConnection {
  /** Before the application says its first word. */
  readonly setUp: readonly string[];
  readonly session: readonly string[];
}

export interface FrameworkSession {
  readonly framework: string;
  readonly version: string;
  /** The server's version; the statements of a set-up depend on it. */
  readonly server: string;
  readonly source: 'captured' | 'read';
  /** Where it was read. */
  readonly files?: readonly string[];
  readonly connections: readonly FrameworkConnection[];
}

export function readFrameworkSessions(): readonly FrameworkSession[] {
  return ['framework-sessions.json', 'framework-sessions.read.json'].flatMap(load);
}

function load(file: string): FrameworkSession[] {
  const text = readFileSync(new URL(`../vectors/${file}`, import.meta.url), 'utf8');
  return JSON.parse(text) as FrameworkSession[];
}
