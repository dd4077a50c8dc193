/** A process of `search`: is sent a share of the seeds, answers what it found. */
import { playShare, type Share } from './search.ts';

process.once('message', (share: Share) => {
  // Histories are played from the event loop, not from within its callbacks.
  setImmediate(() => process.send?.(playShare(share)));
});
