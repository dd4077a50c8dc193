/**
 * Sessions of real frameworks through a split endpoint: each program sees what it sees directly at a server,
 * nothing holds its session to one connection once that is set up, nor when its work is done, and its reads are
 * answered by the replica.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { forEachFlavour, type LabFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import { type ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { pinsOf } from '../support/explained-session.ts';
import { frameworks, runFramework, type Framework } from './frameworks.ts';

forEachFlavour((flavour) => {
  describe(`frameworks at ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;

    before(async () => {
      lab = await startPair({ flavour });
      const admin = await lab.connect(lab.db1, { ...ADMIN_ACCOUNT });
      await admin.query('alter database demo character set utf8mb4');
      const split = { pool: 'transaction', causal_reads: 'session' };
      proxy = await lab.startProxy({ workers: 1, config: { 'listener split': split } });
    });
    after(() => lab?.stop());

    for (const framework of frameworks.filter((one) => canLogIn(one, flavour))) {
      const title = `${framework.name} sees the same, is free to go, and reads at the replica`;
      it(title, { skip: framework.lacks ?? false }, async () => {
        const direct = await runFramework(framework, lab.db1.port);
        const readsBefore = await readsAtReplica(proxy);
        const proxied = await runFramework(framework, proxy.ports.split, async (pause) => {
          assert.deepEqual(await pinsOf(proxy, 'split'), [], `pins when it is ${pause}`);
        });
        assert.deepEqual(asLines(proxied), asLines(direct));
        await eventually(async () => {
          const reads = (await readsAtReplica(proxy)) - readsBefore;
          assert.ok(reads >= framework.freeReads, `${reads} reads of ${framework.freeReads} at the replica`);
        });
      });
    }
  });
});

function canLogIn(framework: Framework, flavour: LabFlavour): boolean {
  return flavour !== 'mysql97' || framework.nativePasswordOnly !== true;
}

async function readsAtReplica(proxy: ProxyProcess): Promise<number> {
  const { text } = await proxy.get('/metrics');
  const lines = text.split('\n').filter((line) => line.startsWith('dbproxy_queries_total{'));
  return lines
    .filter((line) =>
      ['listener="split"', 'backend="db2"', 'class="read"'].every((label) => line.includes(label)),
    )
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** A difference is shown where it is, not as two lines of 2 KB. */
function asLines(seen: string): string[] {
  return seen.replace(/(?<=[,{]) ?(?=")/g, '\n').split('\n');
}
