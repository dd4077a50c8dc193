/**
 * Records what real frameworks send, from the general log of real servers: each program of
 * test/clients/frameworks.ts runs its session directly at a MariaDB and at a MySQL 9.7, and the statements of
 * each of its connections go to framework-sessions.json, those before its marker as the set-up.
 *
 *   node test/vectors/capture-frameworks.ts
 *
 * What could not be run on a Debian 12 stands in framework-sessions.read.json, by hand.
 */
import { writeFileSync } from 'node:fs';
import { type Connection, type RowDataPacket } from 'mysql2/promise';
import { frameworks, runFramework, versionOf, type Framework } from '../clients/frameworks.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import { type FrameworkConnection, type FrameworkSession } from '../support/framework-sessions.ts';

const OUTPUT = new URL('framework-sessions.json', import.meta.url);
/** The program asks for this once its connection is set up. */
const MARKER = "'set up' AS marker";
/** What of the log is a command that may change the session, or shows how statements travel. */
const COMMANDS = ['Query', 'Prepare', 'Init DB', 'Change user', 'Reset Connection'];

const sessions: FrameworkSession[] = [];
for (const flavour of ['mariadb', 'mysql97'] as const) {
  const lab = await startPair({ flavour });
  try {
    for (const framework of frameworks) {
      if (flavour === 'mysql97' && framework.nativePasswordOnly === true) continue;
      if (framework.lacks !== undefined) throw new Error(`${framework.name}: ${framework.lacks}`);
      sessions.push(await capture(lab, framework));
    }
  } finally {
    await lab.stop();
  }
}
writeFileSync(OUTPUT, `${JSON.stringify(sessions, null, 1)}\n`);

async function capture(lab: Lab, framework: Framework): Promise<FrameworkSession> {
  const admin = await lab.connect(lab.db1, { ...ADMIN_ACCOUNT, database: 'mysql' });
  await admin.query('alter database demo character set utf8mb4');
  await admin.query("set global log_output = 'TABLE'");
  await admin.query('truncate table general_log');
  await admin.query('set global general_log = 1');
  await runFramework(framework, lab.db1.port);
  await admin.query('set global general_log = 0');
  const [[server]] = await admin.query<RowDataPacket[]>('select version() as version');
  const connections = await connectionsIn(admin);
  if (!connections.some(({ session }) => session.length > 0)) throw new Error(`${framework.name}: no marker`);
  return {
    framework: framework.name,
    version: versionOf(framework),
    server: String(server!['version']),
    source: 'captured',
    connections,
  };
}

/** What each connection sent, without those of the replica and of this program. */
async function connectionsIn(admin: Connection): Promise<FrameworkConnection[]> {
  const [rows] = await admin.query<RowDataPacket[]>(
    `select thread_id as thread, command_type as command, convert(argument using utf8mb4) as text
     from general_log where thread_id <> connection_id() and user_host like '%${ADMIN_ACCOUNT.user}%'`,
  );
  const threads = Map.groupBy(rows, ({ thread }) => String(thread));
  return [...threads.values()]
    .map((lines) =>
      lines
        .filter(({ command }) => COMMANDS.includes(String(command)))
        .map(({ command, text }) => `${String(command)}: ${String(text)}`),
    )
    .filter((lines) => lines.length > 0)
    .map((lines) => {
      const marker = lines.findIndex((line) => line.includes(MARKER));
      // A pool's first connection may only ask for the server's version.
      return marker < 0 ? { setUp: lines, session: [] } : { setUp: lines.slice(0, marker), session: lines.slice(marker) };
    });
}
