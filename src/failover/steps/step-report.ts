/** How a step of a promotion says what it did. */

/** What a step did, in words; `skipped` when there was nothing to do. */
export interface StepReport {
  readonly result: 'done' | 'skipped';
  readonly detail: string;
}

/** The step was done. */
export function done(detail: string): StepReport {
  return { result: 'done', detail };
}

/** There was nothing to do, and why. */
export function skipped(detail: string): StepReport {
  return { result: 'skipped', detail };
}
