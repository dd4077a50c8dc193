/**
 * Where what runs differs from the file: rows for SHOW CONFIG DIFF. Both are configurations; what was set at run time
 * has been laid over the one that runs.
 */
import type { ProxyConfig } from './config.ts';
import { configRows, type ConfigRow } from './show.ts';

export interface Difference {
  readonly section: string;
  readonly key: string;
  /** Null: there is none now. */
  readonly running: string | null;
  /** Null: the file has none. */
  readonly file: string | null;
}

/** Key by key. A section that only one of the two has is a row by itself, and then its keys that are no defaults. */
export function differences(running: ProxyConfig, file: ProxyConfig): Difference[] {
  const [now, before] = [configRows(running), configRows(file)];
  const sections = [...new Set([...before, ...now].map(({ section }) => section))];
  return sections.flatMap((section): Difference[] => {
    const [nowRows, beforeRows] = [now, before].map((rows) => rows.filter((row) => row.section === section));
    if (beforeRows!.length === 0) {
      const told = nowRows!.filter(isTold);
      return [
        { section, key: '', running: 'added', file: null },
        ...told.map(({ key, value }) => ({ section, key, running: value, file: null })),
      ];
    }
    if (nowRows!.length === 0) return [{ section, key: '', running: null, file: 'dropped' }];
    return beforeRows!.flatMap(({ key, value }) => {
      const here = nowRows!.find((row) => row.key === key)?.value ?? null;
      return here === value ? [] : [{ section, key, running: here, file: value }];
    });
  });
}

function isTold({ value, default: usual }: ConfigRow): boolean {
  return value !== usual;
}
