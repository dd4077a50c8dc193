/**
 * The differential suite at one kind of server: a pair, a proxy in front of it, every case under every set of
 * flags. One test file for each server calls it, so that each has its own bound of time.
 */
import { after, before, describe, it } from 'node:test';
import { forEachFlavour, type LabFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import { listenerWithTls } from '../support/listener-tls.ts';
import { WireClient } from '../support/wire-client.ts';
import { allCases } from './cases/all.ts';
import { casesFor, compare, compareFlags, FLAG_SETS, type Sides } from './compare.ts';

const SERVER_OPTIONS = ['--max-allowed-packet=128M', '--local-infile=1'];

/** Defines the tests, through the write endpoint. */
export function differentialSuite(kind: LabFlavour): void {
  forEachFlavour(() => {
    describe(`${kind}, direct and proxied`, () => {
      let lab: Lab;
      let sides: Sides;

      before(async () => {
        lab = await startPair({ flavour: kind, serverOptions: SERVER_OPTIONS });
        const proxy = await lab.startProxy({
          workers: 1,
          config: listenerWithTls(lab.directory, 'preferred'),
        });
        sides = {
          kind,
          directPort: lab.db1.port,
          proxiedPort: proxy.ports.write,
          account: ADMIN_ACCOUNT,
        };
        // The first login by caching_sha2_password takes more rounds than those after it.
        for (const port of [sides.directPort, sides.proxiedPort]) {
          (await WireClient.connect({ port, ...ADMIN_ACCOUNT })).destroy();
        }
      });
      after(() => lab?.stop());

      for (const set of FLAG_SETS.filter(({ servers }) => servers.includes(kind))) {
        describe(set.name, () => {
          if (Object.keys(set.channel).length === 0) {
            it('agrees on the same flags', () => compareFlags(sides, set));
          }
          for (const wireCase of casesFor(allCases, set, kind)) {
            it(wireCase.name, () => compare(sides, set, wireCase));
          }
        });
      }
    });
  }, [kind]);
}
