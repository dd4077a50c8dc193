/**
 * Which server was asked what, by the servers' own general logs: a statement that carries a mark, `/* m7 *\/`, is
 * looked for on each of them. Nothing that dbproxy says of itself is believed.
 */
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { ADMIN_ACCOUNT, type Lab } from '../lab/pair.ts';

export class Witness {
  readonly #servers: readonly (readonly [name: string, direct: Connection])[];
  #marks = 0;

  private constructor(servers: readonly (readonly [string, Connection])[]) {
    this.#servers = servers;
  }

  /** Begins to log on both servers of the lab. */
  static async of(lab: Lab): Promise<Witness> {
    const servers = await Promise.all(
      [lab.db1, lab.db2].map(async (server, index) => {
        const direct = await lab.connect(server, { ...ADMIN_ACCOUNT });
        await direct.query("set global log_output = 'TABLE', global general_log = 1");
        return [`db${index + 1}`, direct] as const;
      }),
    );
    return new Witness(servers);
  }

  /** A comment that no other statement has. */
  mark(): string {
    return `/* m${++this.#marks} */`;
  }

  /** The servers that have seen statements with this mark, one entry for each time. */
  async askedOf(mark: string): Promise<string[]> {
    const sql = `select count(*) as n from mysql.general_log
      where command_type <> 'Prepare' and (user_host like 'app[%' or user_host like 'root2[%') and instr(argument, concat('${mark.slice(0, 4)}', '${mark.slice(4)}')) > 0`;
    const asked: string[] = [];
    for (const [name, direct] of this.#servers) {
      const [rows] = await direct.query<RowDataPacket[]>(sql);
      for (let n = Number(rows[0]!['n']); n > 0; n--) asked.push(name);
    }
    return asked;
  }
}
