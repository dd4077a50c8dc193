/** Words that agree with how many they speak of. */

/** The form of a verb for one, or for several. */
export function agree(subjects: readonly unknown[], one: string, several: string): string {
  return subjects.length === 1 ? one : several;
}
