/**
 * LOAD DATA LOCAL: the one command in which the client sends a second time.
 */
import { WireFlag } from '../../support/wire-client.ts';
import type { WireCase } from '../compare.ts';

const TABLE = ['create table f (line varchar(200))', 'create table big (line longtext)'];
const LOAD = "load data local infile 'lines.txt' into table f";

const whole: WireCase = {
  name: 'LOAD DATA LOCAL: in one packet, in several, empty, without a last newline',
  needs: WireFlag.LOCAL_FILES,
  setup: TABLE,
  async *steps(client) {
    yield client.query(LOAD, [Buffer.from('one\ntwo\n')]);
    yield client.query(LOAD, [Buffer.from('three\nfo'), Buffer.from('ur\n'), Buffer.from('five')]);
    yield client.query(LOAD, []);
    yield client.query('select * from f');
    yield client.query(
      LOAD,
      Array.from({ length: 400 }, (_, index) => Buffer.from(`line ${index}\n`)),
    );
    yield client.query('select count(*), crc32(group_concat(line order by line)) from f');
    yield client.query(`${LOAD} (line) set line = concat(line, '!')`, [Buffer.from('x\ty\n')]);
    yield client.query('show warnings');
  },
};

const refused: WireCase = {
  name: 'LOAD DATA LOCAL that fails: no table, a bad value, in the middle of a transaction',
  needs: WireFlag.LOCAL_FILES,
  setup: [...TABLE, 'create table n (v int primary key)'],
  async *steps(client) {
    yield client.query("load data local infile 'x' into table missing", [Buffer.from('1\n')]);
    yield client.query('begin');
    yield client.query("load data local infile 'x' into table n", [Buffer.from('1\n1\nabc\n2\n')]);
    yield client.query('show warnings');
    yield client.query('rollback');
    yield client.query('select * from n');
    yield client.query("load data local infile 'x' into table f lines terminated by ''", [
      Buffer.from('a\n'),
    ]);
  },
};

const severalFiles: WireCase = {
  name: 'LOAD DATA LOCAL twice in one command, with results around',
  needs: WireFlag.LOCAL_FILES | WireFlag.MULTI_STATEMENTS,
  setup: TABLE,
  async *steps(client) {
    yield client.query(`select 1; ${LOAD}; select count(*) from f`, [Buffer.from('a\nb\n')]);
    yield client.query(`${LOAD}; ${LOAD}; select count(*) from f`, [Buffer.from('c\n')]);
  },
};

const serverOff: WireCase = {
  name: 'LOAD DATA LOCAL while the server has it off, and for a client that did not ask for it',
  setup: TABLE,
  async *steps(client, place) {
    const without = await place.open({ capabilities: WireFlag.MULTI_RESULTS });
    yield without.query(LOAD, [Buffer.from('a\n')]);
    yield client.query('set global local_infile = 0');
    yield client.query(LOAD, [Buffer.from('a\n')]);
    yield client.query('set global local_infile = 1');
    yield client.query('select count(*) from f');
  },
};

const large: WireCase = {
  name: 'LOAD DATA LOCAL of 20 MB in one chain and in pieces of 16 MB - 1',
  needs: WireFlag.LOCAL_FILES,
  costly: true,
  setup: TABLE,
  async *steps(client) {
    const sql = "load data local infile 'big' into table big";
    yield client.query(sql, [Buffer.concat([Buffer.alloc(1_000_000, 'a'), Buffer.from('\nend\n')])]);
    const lines = Buffer.from(`${'y'.repeat(99_999)}\n`.repeat(170));
    yield client.query(sql, [lines.subarray(0, 0xfffffe), lines.subarray(0xfffffe)]);
    yield client.query('select count(*), sum(length(line)), max(length(line)) from big');
  },
};

export const fileCases: readonly WireCase[] = [whole, refused, severalFiles, serverOff, large];
