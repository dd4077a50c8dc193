/**
 * Sessions of read endpoints that keep one connection (session_moves = on) leave a server that reads do not belong to any
 * more: a replica that lags, or has become the primary, while another one can serve. Who rests there without a
 * transaction leaves at once, and goes on with its next statement on another server, brought to its settings; an open
 * transaction and a running statement end first. Who has something there that cannot be made anew stays.
 */
import type { Clock } from '../base/clock.ts';
import { mayReadOn } from '../routing/router.ts';
import type { Snapshot } from '../topology/snapshot.ts';
import { leaveSoon } from './leave-primary.ts';
import type { Session } from './session.ts';

/** To be called with each new snapshot. */
export function leaveUnreadable(clock: Clock, sessions: Iterable<Session>, snapshot: Snapshot): void {
  const left = snapshot.backends.filter(({ name, cluster }) => !mayReadOn(snapshot, cluster, name));
  if (left.length === 0) return;
  for (const session of sessions) {
    const { dispatcher } = session;
    const { mode, cluster } = session.endpoint.config;
    if (mode !== 'read' || dispatcher?.staysHome !== true) continue;
    for (const backend of left) {
      if (backend.cluster === cluster && session.isOn(backend.name)) leaveSoon(clock, session, backend.name);
    }
  }
}
