/**
 * Makes a list of steps that fails as short as it can be: parts are left out, halves first and single steps
 * at last, as long as what remains still fails (delta debugging, after Zeller and Hildebrandt). Whether a
 * list fails is asked of the caller, who plays it, so it is bounded in time.
 */

/** The shortest failing part of `list` found before `isOver`; `list` itself must fail. */
export async function shrink<T>(
  list: readonly T[],
  fails: (part: readonly T[]) => Promise<boolean>,
  isOver: () => boolean,
): Promise<readonly T[]> {
  let best = list;
  let size = Math.ceil(list.length / 2);
  while (size >= 1 && best.length > 1) {
    let shorter = false;
    for (let start = 0; start < best.length && !isOver();) {
      const part = [...best.slice(0, start), ...best.slice(start + size)];
      if (part.length < best.length && (await fails(part))) {
        best = part;
        shorter = true;
      } else start += size;
    }
    if (isOver()) break;
    // Single steps are tried until none can go.
    if (size === 1 && !shorter) break;
    size = Math.max(1, Math.floor(size / 2));
  }
  return best;
}
