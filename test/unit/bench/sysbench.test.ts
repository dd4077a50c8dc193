import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseSysbench } from '../../../bench/sysbench.ts';

/** As sysbench 1.0.20 ends a run. */
const OUTPUT = `SQL statistics:
    queries performed:
        read:                            20440
        write:                           5833
        other:                           2918
        total:                           29191
    transactions:                        1458   (1449.96 per sec.)
    queries:                             29191  (29030.15 per sec.)
    ignored errors:                      2      (1.99 per sec.)
    reconnects:                          0      (0.00 per sec.)

General statistics:
    total time:                          1.0041s
    total number of events:              1458

Latency (ms):
         min:                                    2.31
         avg:                                   10.98
         max:                                   81.55
         99th percentile:                       37.56
         sum:                                16012.19
`;

suite('the output of sysbench', () => {
  test('is read', () => {
    const expected = { queries: 29_191, queriesPerSecond: 29_030.15, p99Ms: 37.56, errors: 2 };
    assert.deepEqual(parseSysbench(OUTPUT), expected);
  });

  for (const line of ['queries: ', 'ignored errors:', '99th percentile:']) {
    test(`is not taken for whole without "${line.trim()}"`, () => {
      const cut = OUTPUT.split('\n').filter((text) => !text.trim().startsWith(line));
      assert.equal(parseSysbench(cut.join('\n')), null);
    });
  }
});
