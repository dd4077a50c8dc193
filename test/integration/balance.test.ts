/**
 * Weights: the reads go where they say, at once when they change, and also after a restart.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';

const CONNECTIONS = 1000;
const AT_ONCE = 20;

forEachFlavour((flavour) => {
  describe(`weights, with ${flavour} behind`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;

    before(async () => {
      lab = await startPair({ flavour });
      proxy = await lab.startProxy({ workers: 2 });
    });
    after(() => lab?.stop());

    /** Share of the reads that db1 gets, in percent. */
    async function shareOfDb1(): Promise<number> {
      let onDb1 = 0;
      const lane = async (): Promise<void> => {
        for (let i = 0; i < CONNECTIONS / AT_ONCE; i++) {
          const connection = await proxy.connect('read');
          const [rows] = await connection.query<RowDataPacket[]>('select @@port as port');
          if (rows[0]!.port === lab.db1.port) onDb1++;
          await connection.end();
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, lane));
      return (onDb1 * 100) / CONNECTIONS;
    }

    function assertShare(share: number, wanted: number): void {
      assert.ok(Math.abs(share - wanted) <= 5, `db1 got ${share} %, wanted ${wanted}`);
    }

    it('send all reads to the replica when nobody has given the primary a share', async () => {
      assert.equal(await shareOfDb1(), 0);
    });

    it('move the reads as set, at once, and also after a restart', async () => {
      await proxy.admin('SET BACKEND db1 RO_WEIGHT = 1');
      await proxy.admin('SET BACKEND db2 RO_WEIGHT = 3');
      assertShare(await shareOfDb1(), 25);
      await proxy.admin('set backend db1 ro_weight = 4, rw_weight = 10');
      await proxy.admin('set backend db2 ro_weight = 1;');
      assertShare(await shareOfDb1(), 80);
      await proxy.stop();
      await proxy.start();
      assertShare(await shareOfDb1(), 80);
    });

    it('of 0 take a backend out, and reads fall back to the primary when none is left', async () => {
      await proxy.admin('SET BACKEND db1 RO_WEIGHT = 0');
      assert.equal(await shareOfDb1(), 0);
      await proxy.admin('SET BACKEND db2 RO_WEIGHT = 0');
      assert.equal(await shareOfDb1(), 100);
    });
  });
});
