/**
 * How long a worker takes to leave a server: it begins, what is open there has the grace to end, what still runs then is
 * killed, and the rest is cut. The supervisor gives it that time before it takes it for one that does not answer, and kills it.
 */

/** A worker of a busy machine begins later; one that has not begun by then, and by the end of the grace, hangs. */
export const BEGINNING_MS = 2_000;

/** How long the statements that still run may take to end when they are killed. */
export const KILLING_MS = 500;
/** How long after they were cut connections may take to be gone. */
export const CLOSING_MS = 1_000;
/** A worker that is busy answers later. */
const ANSWER_MARGIN_MS = 500;

/** After the grace, until the worker has answered. */
export const LEAVING_MS = KILLING_MS + CLOSING_MS + ANSWER_MARGIN_MS;
