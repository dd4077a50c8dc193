/**
 * The little of proxy.conf that `dbproxy keepalived check` needs, read leniently: a file that somebody is just editing,
 * with errors anywhere in it, must not make both hosts give up their virtual addresses. Sections and keys that are
 * wrong have their defaults.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Endpoint } from '../base/address.ts';
import { messageOf } from '../base/message-of.ts';
import { parseIni, type Problem } from './ini.ts';
import type { SectionKind } from './keys.ts';
import { vrrpInstance } from './virtual-addresses.ts';
import { readSection, type ConfigContext, type Section } from './section.ts';

export interface CheckConfig {
  readonly httpAddress: Endpoint;
  /** Null: none is asked. */
  readonly gateway: string | null;
  readonly timeoutMs: number;
  /** Path; null: there is none. */
  readonly haconf: string | null;
  /** The VRRP instance that haconf is to name; null: any will do. */
  readonly instance: string | null;
}

/** Reads it from the file; from nothing at all, the defaults. */
export function loadCheckConfig(path: string, env: NodeJS.ProcessEnv): CheckConfig {
  return parseCheckConfig(textOf(path), path, env);
}

/** The same from a text. */
export function parseCheckConfig(text: string, file: string, env: NodeJS.ProcessEnv): CheckConfig {
  const { sections } = parseIni(text);
  const of = (kind: SectionKind): Section => {
    const source = sections.find((section) => section.kind === kind);
    const context: ConfigContext = { file, env, cores: 1, readFile: () => '' };
    const problems: Problem[] = [];
    const empty = { kind, name: '', line: 1, entries: [], brokenKeys: [] };
    const fallback = readSection(empty, kind, context, problems);
    const section = readSection(source ?? empty, kind, context, problems);
    for (const key of ['address', 'check_timeout']) {
      const usual = fallback.value(key);
      if (section.value(key) === undefined && usual !== undefined) section.set(key, usual);
    }
    return section;
  };
  const keepalived = of('keepalived');
  const gateway = keepalived.value('gateway');
  const haconf = keepalived.value('haconf');
  return {
    httpAddress: of('http').endpoint('address'),
    gateway: typeof gateway === 'string' ? gateway : null,
    timeoutMs: keepalived.number('check_timeout'),
    haconf: typeof haconf === 'string' ? resolve(dirname(file), haconf) : null,
    instance: keepalived.isWritten('vip') ? vrrpInstance(keepalived) : null,
  };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    process.stderr.write(`dbproxy: ${path}: cannot be read: ${messageOf(error)}; asked with its defaults\n`);
    return '';
  }
}
