/**
 * Which of two state documents holds, when the two dbproxies of a pair do not have the same. Pure, and the same answer
 * on both sides, whoever asks first: no clock is in it.
 *
 * 1. The higher term. A term begins when a proxy goes on without the other: what one had written down and could not hand
 *    over before it died (it was never acknowledged) loses against what the other has decided since.
 * 2. The higher epoch: of two that went on without each other, who has made a promotion knows more of who is the primary.
 * 3. The higher revision, the number of changes.
 * 4. The text, when two have changed different things without each other: some order, but one that both find.
 */
import type { DurableState } from '../topology/state-file.ts';

/** Above 0: `ours` holds; below: `theirs`; 0: they are the same. */
export function compareDocuments(ours: DurableState, theirs: DurableState): number {
  return (
    (ours.term ?? 0) - (theirs.term ?? 0) ||
    ours.epoch - theirs.epoch ||
    (ours.revision ?? 0) - (theirs.revision ?? 0) ||
    compareTexts(canonical(ours), canonical(theirs))
  );
}

/** What of `dropped` is not in `kept` or is another there, in words; empty: nothing that anybody had decided. */
export function droppedWords(dropped: DurableState, kept: DurableState): string {
  const lost = PARTS.flatMap((part) => {
    const [before, now] = [dropped[part] ?? {}, kept[part] ?? {}] as const;
    const names = [...new Set([...Object.keys(before), ...Object.keys(now)])].sort();
    return names
      .map((name) => [name, decided(before[name]), decided(now[name])] as const)
      .filter(([, had, has]) => had !== has)
      .map(([name, had, has]) => `${part} ${name}: ${had} gives way to ${has}`);
  });
  return lost.join('; ');
}

/** Its place among all documents, in words. */
export function stampWords({ term, epoch, revision }: DurableState): string {
  return `term ${term ?? 0}, epoch ${epoch}, revision ${revision ?? 0}`;
}

const PARTS = ['clusters', 'backends', 'added', 'dropped'] as const;

/** How far a promotion has come is nothing that is decided. */
function decided(value: unknown): string {
  if (typeof value !== 'object' || value === null || !('promotion' in value)) return canonical(value);
  const { promotion: _, ...rest } = value;
  return canonical(rest);
}

function compareTexts(one: string, other: string): number {
  return one === other ? 0 : one < other ? -1 : 1;
}

/** The same text for the same content, in whatever order its keys were written. */
function canonical(value: unknown): string {
  if (value === undefined) return 'nothing';
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([one], [other]) => compareTexts(one, other)))
      : part,
  );
}
