import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Row } from '../../../src/monitor/flavour/row.ts';
import { recallLog, type Recalled } from '../../../src/monitor/log-memory.ts';

/** A file of a log: the state that it begins with, and the transactions in it. */
type File = readonly [head: string, ...gtids: string[]];

/** What a log with these files tells; `most`: so many transactions of a file are shown at a time. */
async function recall(said: string, files: readonly File[], most = Infinity): Promise<Recalled> {
  const questions = {
    files: 'files',
    events: (file: string, count: number) => `events ${file} ${count}`,
    endOf: (file: string) => `end ${file}`,
  };
  const eventsOf = ([head, ...gtids]: File): Row[] => [
    { Event_type: 'Format_desc', Info: 'Server ver: 10.11.19' },
    { Event_type: 'Gtid_list', Info: `[${head}]` },
    { Event_type: 'Binlog_checkpoint', Info: 'binlog.000001' },
    ...gtids.map((gtid) => ({ Event_type: 'Gtid', Info: `BEGIN GTID ${gtid} cid=7` })),
  ];
  return recallLog(questions, said, (sql) => {
    const [what, name = '', count] = sql.split(' ');
    const file = files[Number(name)]!;
    if (what === 'files')
      return Promise.resolve(files.map((_, index) => ({ Log_name: String(index), File_size: 999 })));
    if (what === 'end') return Promise.resolve([{ position: file.at(-1) }]);
    // A file that is not shown whole has many events more.
    const events = eventsOf(file);
    const isWhole = events.length <= most || Number(count) < 100;
    return Promise.resolve(isWhole ? events : [...events.slice(0, most), ...Array<Row>(20_000).fill({})]);
  });
}

suite('what a server has by its own binary log', () => {
  const agrees: Recalled = { kind: 'agrees' };
  const more = (position: string, history = position): Recalled => ({ kind: 'more', position, history });
  const table: [why: string, said: string, files: File[], expected: Recalled][] = [
    ['it has one file', '0-1-9', [['', '0-1-9']], agrees],
    ['it has none', '', [], agrees],
    ['it began a new one', '0-1-9', [['', '0-1-9'], ['0-1-9']], agrees],
    [
      'it has written in the new one',
      '0-1-10',
      [
        ['', '0-1-9'],
        ['0-1-9', '0-1-10'],
      ],
      agrees,
    ],
    ['restarts without a write', '0-1-9', [['', '0-1-9'], ['0-1-9'], ['0-1-9'], ['0-1-9']], agrees],
    ['restarts of an empty one', '', [[''], [''], ['']], agrees],
    ['it begins anew behind what it was told', '0-1-9', [['0-1-9']], agrees],
    ['it has forgotten all', '', [['', '0-1-9'], ['0-1-9', '0-1-10', '0-1-11'], ['']], more('0-1-11')],
    ['it has been restarted since', '', [['', '0-1-9'], ['0-1-9', '0-1-10'], [''], ['']], more('0-1-10')],
    [
      'it has forgotten the end of it',
      '0-1-4',
      [['', '0-1-4'], ['0-1-4', '0-1-9'], ['0-1-9', '0-1-10'], ['0-1-4']],
      more('0-1-10'),
    ],
    [
      'recovery began with the file that it forgets the transactions of',
      '0-1-4',
      [['', '0-1-4'], ['0-1-4', '0-1-9'], ['0-1-4']],
      more('0-1-9'),
    ],
    [
      'others have written before it',
      '0-1-21,0-2-32',
      [['', '0-1-21', '0-2-32'], ['0-1-21,0-2-32', '0-2-47'], ['0-1-21,0-2-47', '0-2-48'], ['0-1-21,0-2-32']],
      more('0-2-48', '0-1-21,0-2-48'),
    ],
    [
      'what it has written itself before it followed another',
      '0-1-21',
      [['', '0-1-21'], ['0-1-21', '0-1-30', '0-2-31'], ['0-1-21']],
      more('0-2-31', '0-1-30,0-2-31'),
    ],
    [
      'several domains',
      '',
      [['', '0-1-1', '5-1-1'], ['0-1-1,5-1-1', '0-1-2', '5-1-9'], ['']],
      more('0-1-2,5-1-9'),
    ],
    [
      'it has taken in what came behind',
      '0-1-4,0-2-12',
      [
        ['', '0-1-4'],
        ['0-1-4', '0-1-11'],
        ['0-1-4', '0-2-12'],
      ],
      more('0-2-12', '0-1-11,0-2-12'),
    ],
    ['a domain was deleted', '0-1-9', [['', '7-1-1'], ['0-1-9,7-1-1', '7-1-2'], ['0-1-9']], agrees],
    ['numbers out of order', '0-1-5', [['0-1-9', '0-1-5'], ['0-1-5']], agrees],
  ];
  for (const [why, said, files, expected] of table) {
    test(`${why}: ${expected.kind}`, async () => assert.deepEqual(await recall(said, files), expected));
  }

  test('nobody can tell when it has given a number twice since', async () => {
    const files: File[] = [
      ['', '0-1-4'],
      ['0-1-4', '0-1-11'],
      ['0-1-4', '0-1-5'],
    ];
    const { kind, ...rest } = await recall('0-1-5', files);
    assert.equal(kind, 'unclear');
    assert.match(JSON.stringify(rest), /forget the end of 1; .* has given 0-1-5 a second time/);
  });

  test('the end of a long file is by who wrote its beginning, else nobody can tell', async () => {
    const files = (last: string): File[] => [['', '0-1-4'], ['0-1-4', '0-1-5', '0-1-6', last], ['']];
    assert.deepEqual(await recall('', files('0-1-900'), 5), more('0-1-900'));
    assert.equal((await recall('', files('0-2-900'), 5)).kind, 'unclear');
  });
});
