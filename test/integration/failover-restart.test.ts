/**
 * A dbproxy that is killed in the middle of a switchover, after each step at which something has changed: the next
 * start ends what was begun, and there is one primary.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { CREATE_WRITTEN } from '../chaos/workload.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import {
  configWith,
  eventSince,
  isReadOnly,
  primaryOf,
  untilSafe,
  untilWell,
  writeOne,
} from '../support/failovers.ts';

forEachFlavour(
  (flavour) => {
    suite(`a dbproxy that is killed in the middle of a switchover on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      before(async () => {
        lab = await startPair({ flavour });
        await lab.db1.query(CREATE_WRITTEN);
        proxy = await lab.startProxy({ config: configWith() });
        await untilSafe(proxy, lab.db1, flavour);
      });
      after(() => lab?.stop());

      for (const [number, step] of [
        'end_sessions',
        'fence',
        'record',
        'make_writable',
        'repoint',
      ].entries()) {
        test(`after ${step}: the next start ends it, with one primary`, async () => {
          const from = proxy.log.length;
          proxy.admin('SWITCHOVER').catch(() => undefined); // nobody is there to answer it
          await eventSince(proxy, from, `promote.${step}`);
          proxy.signal('SIGKILL');
          await proxy.ended();
          await proxy.start();
          await untilWell(proxy);
          await writeOne(proxy, -100 - number);
          const readOnly = await Promise.all([lab.db1, lab.db2].map(isReadOnly));
          assert.deepEqual(readOnly.toSorted(), [false, true]);
          const primary = await primaryOf(proxy);
          assert.equal(readOnly[primary === 'db1' ? 0 : 1], false);
          const ends = proxy.log.slice(from).filter(({ event }) => /^promote\.(done|undone)$/.test(event));
          assert.equal(ends.length, 1);
        });
      }
    });
  },
  ['mariadb', 'mysql97'],
);
