import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../../src/base/log.ts';
import { Promotions, type PromotionsOptions } from '../../../src/failover/promotion.ts';

test('once a stop has begun no promotion begins', async () => {
  const events: string[] = [];
  const promotions = new Promotions({
    log: silentLog,
    onEvent: (event: string) => events.push(event),
  } as Partial<PromotionsOptions> as PromotionsOptions);
  await promotions.stop();
  await assert.rejects(promotions.promote('db2'), {
    code: 'DBPROXY_PROMOTE_REFUSED',
    message: /is stopping/,
  });
  assert.deepEqual(events, ['promote.refused']);
  assert.equal(promotions.underWay, null);
});
