/**
 * Choosing one of several by weight. Weighted round robin in its smooth form (each candidate gains its
 * weight, the richest is taken and pays the sum): with weights 3 and 1 it gives a a b a, never a a a b in a
 * row, and over any full cycle the shares are exact.
 */

/** One that can be chosen. */
export interface Candidate {
  readonly name: string;
  /** Share; above 0. */
  readonly weight: number;
  /** Sessions it serves now. */
  readonly sessions: number;
}

/** Credits of the candidates by name: the memory of the round robin, kept by the caller. */
export type Credits = Map<string, number>;

/** Takes the next one by weighted round robin and updates `credits`; undefined when there is none. */
export function nextByWeight(candidates: readonly Candidate[], credits: Credits): string | undefined {
  let best: string | undefined;
  let bestCredit = -Infinity;
  let total = 0;
  for (const { name, weight } of candidates) {
    const credit = (credits.get(name) ?? 0) + weight;
    credits.set(name, credit);
    total += weight;
    if (credit > bestCredit) {
      best = name;
      bestCredit = credit;
    }
  }
  if (best !== undefined) credits.set(best, bestCredit - total);
  // Those that are not candidates any more start anew when they come back.
  if (credits.size > candidates.length) {
    for (const name of credits.keys()) {
      if (!candidates.some((candidate) => candidate.name === name)) credits.delete(name);
    }
  }
  return best;
}

/** Takes the one with the fewest sessions for its weight; the earlier one when two are equal. */
export function leastConnections(candidates: readonly Candidate[]): string | undefined {
  let best: Candidate | undefined;
  for (const candidate of candidates) {
    if (best === undefined || candidate.sessions * best.weight < best.sessions * candidate.weight)
      best = candidate;
  }
  return best?.name;
}
