/**
 * KILL takes the id that the client was told at its login, from any session to any other, also across
 * workers and backends; what a user may kill is decided by the server.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

forEachFlavour((flavour) => {
  describe(`KILL of proxied sessions on ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;

    before(async () => {
      lab = await startPair({ flavour });
      proxy = await lab.startProxy({ workers: 2 });
    });
    after(() => lab?.stop());

    /** Starts a long statement and resolves when the server runs it. */
    async function sleeper(
      endpoint: 'write' | 'read',
    ): Promise<{ victim: Connection; outcome: Promise<unknown> }> {
      const victim = await proxy.connect(endpoint);
      const server = endpoint === 'write' ? lab.db1 : lab.db2;
      const mark = `select sleep(60) as slept, ${victim.threadId}`;
      const outcome = victim.query(mark).then(
        ([rows]) => (rows as RowDataPacket[])[0]!.slept as unknown,
        (error: { errno?: number; code?: string }) => error.errno ?? error.code,
      );
      const direct = await lab.connect(server, { ...ADMIN_ACCOUNT });
      await eventually(async () => {
        const [rows] = await direct.query<RowDataPacket[]>(
          'select 1 from information_schema.processlist where info = ?',
          [mark],
        );
        assert.equal(rows.length, 1);
      });
      return { victim, outcome };
    }

    /** Enough killers that both workers have one. */
    async function killers(endpoint: 'write' | 'read'): Promise<Connection[]> {
      return Promise.all(Array.from({ length: 8 }, () => proxy.connect(endpoint)));
    }

    it('ends the statement of a session in any worker and leaves the session', async () => {
      for (const killer of await killers('write')) {
        const { victim, outcome } = await sleeper('write');
        await killer.query(`/* stop it */ kill query ${victim.threadId};`);
        assert.ok([1, 1317].includes((await outcome) as number), `outcome ${String(await outcome)}`);
        await victim.query('select 1');
        await victim.end();
      }
    });

    it('ends a session on another backend than the killer is on', async () => {
      const [killer] = await killers('write');
      const { victim, outcome } = await sleeper('read');
      await killer!.query(`KILL ${victim.threadId}`);
      assert.notEqual(await outcome, 0);
      await assert.rejects(victim.query('select 1'));
    });

    it('leaves it to the server whether one user may kill the session of another', async () => {
      const [killer] = await killers('write');
      const victim = await proxy.connect('write', { ...ADMIN_ACCOUNT });
      await assert.rejects(killer!.query(`kill ${victim.threadId}`), { errno: 1095 });
      await victim.query('select 1');
    });

    it('says that an id is unknown which no session has', async () => {
      const [killer] = await killers('write');
      await assert.rejects(killer!.query('kill 4294967290'), { errno: 1094 });
    });

    it("is at the operator's hand, too", async () => {
      const first = await sleeper('write');
      await proxy.admin(`KILL QUERY ${first.victim.threadId}`);
      assert.ok([1, 1317].includes((await first.outcome) as number));
      const second = await sleeper('write');
      await proxy.admin(`KILL ${second.victim.threadId}`);
      assert.notEqual(await second.outcome, 0);
      await assert.rejects(proxy.admin('KILL 4294967290'), { errno: 1094 });
    });
  });
});
