/**
 * The direction of imports, as data: which layer a source file lies in, and which of its imports go
 * where they must not. Pure, so that the rule itself can be tested on made-up files.
 */
import { posix } from 'node:path';

/** Folders and files of src/, lowest layer first. */
const LAYERS: readonly (readonly string[])[] = [
  ['base'],
  ['config', 'protocol', 'sql', 'binlog'],
  ['topology', 'transport'],
  ['ipc', 'routing', 'backend', 'monitor'],
  ['frontend', 'failover', 'setup', 'operations', 'admin', 'http', 'keepalived', 'peer'],
  ['supervisor.ts', 'supervisor', 'worker.ts', 'demo'],
  ['cli.ts', 'cli'],
];

/** A source file: its path below src/ and its text. */
export interface SourceFile {
  path: string;
  text: string;
}

/** Every way in which the files break the rule, one sentence each; empty when they keep it. */
export function layerViolations(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    if (/(^|\/)index\.ts$/.test(file.path)) return [`${file.path} is a barrel`];
    const layer = layerOf(file.path);
    if (layer === undefined) return [`${file.path} is in no layer`];
    return relativeImports(file.text).flatMap((specifier) => {
      const target = posix.join(posix.dirname(file.path), specifier);
      const complaint = complaintAbout(file.path, layer, target);
      return complaint === null ? [] : [`${file.path} imports ${target}: ${complaint}`];
    });
  });
}

function complaintAbout(path: string, layer: number, target: string): string | null {
  const targetLayer = layerOf(target);
  if (!target.endsWith('.ts')) return 'an import ends in .ts';
  if (targetLayer === undefined) return 'that is in no layer';
  if (roomOf(path) === roomOf(target) || targetLayer < layer) return null;
  // An entry file is in the same layer as the folder that its parts lie in.
  if (path === `${roomOf(target)}.ts`) return null;
  return `layer ${layer} may not see ${roomOf(target)} in layer ${targetLayer}`;
}

/** A file at the top of src/ is a room of its own. */
function roomOf(path: string): string {
  return path.split('/')[0]!;
}

function layerOf(path: string): number | undefined {
  const index = LAYERS.findIndex((rooms) => rooms.includes(roomOf(path)));
  return index === -1 ? undefined : index;
}

/** Specifiers of `import … from`, `export … from`, `import '…'` and `import('…')` that are relative. */
function relativeImports(text: string): string[] {
  const pattern = /(?:\bfrom\s*|\bimport\s*\(?\s*)['"](\.{1,2}\/[^'"]+)['"]/g;
  return [...text.matchAll(pattern)].map((match) => match[1]!);
}
