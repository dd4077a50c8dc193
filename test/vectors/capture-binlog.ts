/**
 * Records binlog events of real servers, with the definitions of their tables and the SQL that is read from them
 * (which test/integration/lost-transactions.test.ts proves right on those servers). Run by hand:
 *
 *   node test/vectors/capture-binlog.ts
 */
import { writeFileSync } from 'node:fs';
import { redoSql } from '../../src/binlog/sql.ts';
import { decodeTransaction, tablesOf } from '../../src/binlog/transaction.ts';
import { TransactionReader, type RawTransaction } from '../../src/binlog/transaction-reader.ts';
import { describeTables } from '../../src/failover/lost/describe.ts';
import { readBinlog } from '../../src/failover/lost/dump.ts';
import type { LabFlavour } from '../lab/flavours.ts';
import { ApartLab, bounds, lines, TIMEOUT_MS } from '../support/lost-lab.ts';
import { lostTables, randomInsert, randomUpdate, seeded } from '../support/lost-tables.ts';

const RUNS: readonly { name: string; flavour: LabFlavour; options: readonly string[] }[] = [
  { name: 'mariadb', flavour: 'mariadb', options: [] },
  {
    name: 'mariadb-compressed',
    flavour: 'mariadb',
    options: ['--log-bin-compress=ON', '--log-bin-compress-min-len=10', '--binlog-row-metadata=FULL'],
  },
  { name: 'mysql97', flavour: 'mysql97', options: ['--binlog-rows-query-log-events=ON'] },
  {
    name: 'mysql97-compressed',
    flavour: 'mysql97',
    options: ['--binlog-transaction-compression=ON', '--binlog-row-metadata=FULL'],
  },
  { name: 'mysql56', flavour: 'mysql56', options: ['--binlog-checksum=NONE'] },
];

for (const run of RUNS) await record(run);
process.exitCode = 0;

async function record({ name, flavour, options }: (typeof RUNS)[number]): Promise<void> {
  const apart = await ApartLab.start(flavour, options);
  try {
    await change(apart);
    const file = (await lines(apart.db1, 'show binary logs')).at(-1)!;
    const events: Buffer[] = [];
    const transactions: RawTransaction[] = [];
    await readBinlog(apart.source(apart.lab.db1), { kind: 'at', file, position: 4 }, bounds, (opening) => {
      const reader = new TransactionReader({ ...opening, file, mostBytes: 1e9 });
      return (event) => {
        events.push(event);
        const { transaction, ends } = reader.push(event);
        if (ends) transactions.push(transaction!);
        return 'more';
      };
    });
    const control = await apart.control(apart.lab.db1);
    const definitions = await describeTables(control, transactions.flatMap(tablesOf), TIMEOUT_MS);
    const decoded = transactions.map((raw) => decodeTransaction(raw, definitions));
    const vector = {
      hasChecksums: (await lines(apart.db1, 'select @@global.binlog_checksum'))[0] !== 'NONE',
      definitions: [...definitions],
      events: events.map((event) => event.toString('hex')),
      transactions: decoded.map((one) => ({
        ...{ gtid: one.gtid, threadId: one.threadId, statements: one.statements, ddl: one.ddl },
        ...{ problems: one.problems, redo: redoSql(one) },
      })),
    };
    writeFileSync(
      new URL(`binlog/${name}.json`, import.meta.url),
      `${JSON.stringify(vector, null, 1)}\n`,
    );
  } finally {
    await apart.stop();
  }
}

/** A few rows of all types, in a log of their own. */
async function change(apart: ApartLab): Promise<void> {
  const [table] = lostTables(apart.flavour, 'small');
  const random = seeded(7);
  await apart.db1.query(table!.create);
  if (apart.flavour === 'mysql97') await apart.db1.query("set gtid_next = 'AUTOMATIC:some_tag'");
  await apart.db1.query('flush binary logs');
  await apart.db1.query('start transaction');
  for (const id of [1, 2, 3]) await apart.db1.query(randomInsert(table!, id, random));
  await apart.db1.query('commit');
  if (apart.flavour === 'mysql97') await apart.db1.query("set gtid_next = 'AUTOMATIC'");
  await apart.db1.query(randomUpdate(table!, 1, random));
  await apart.db1.query(`delete from ${table!.name} where id1 > 1`);
  await apart.db1.query('create table further (id int primary key)');
}
