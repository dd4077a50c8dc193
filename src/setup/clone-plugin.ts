/**
 * Filling a MySQL server by its clone plugin: the target fetches the data files of the source itself, replaces
 * its own by them, and restarts. Where nothing restarts it (it was not started by systemd or mysqld_safe) it only
 * stops; then it is said that somebody has to start it, and waited for.
 *
 * Manual: https://dev.mysql.com/doc/refman/8.4/en/clone-plugin-remote.html
 */
import { messageOf } from '../base/message-of.ts';
import { sleep } from '../base/clock.ts';
import { text, type Row } from '../monitor/flavour/row.ts';
import type { CloneJob } from './clone-job.ts';
import { tcpAddress } from './roles.ts';
import { STATEMENT_TIMEOUT_MS } from './servers.ts';

/** How long the copying may take. */
const CLONE_TIMEOUT_MS = 24 * 3_600_000;
/** How long the server may take to be there again, also where somebody has to start it. */
const RESTART_TIMEOUT_MS = 10 * 60_000;
const PROGRESS_MS = 1_000;
/** After that it does not restart by itself. */
const RESTART_PATIENCE_MS = 5_000;

/** ER_CLONE_SHUTDOWN… : cloned, but nobody restarts this server. */
const NOT_MANAGED = 3707;
const LOST_CODES = ['PROTOCOL_CONNECTION_LOST', 'ECONNRESET', 'EPIPE'];
const SERVER_SHUTDOWN = 1053;

const PROGRESS = `SELECT stage AS stage, state AS state, estimate AS estimate, data AS data
  FROM performance_schema.clone_progress WHERE state = 'In Progress'`;
const OUTCOME = 'SELECT state AS state, error_message AS message FROM performance_schema.clone_status';

/** Resolves, with what was done in words, when the server is there again with the data. */
export async function cloneByPlugin(job: CloneJob): Promise<string> {
  const { servers, source, target, account } = job;
  await install(job);
  const { host, port } = tcpAddress(source);
  const { connection } = await servers.of(target.backend);
  await connection.run(
    { sql: 'SET GLOBAL clone_valid_donor_list = ?', values: [`${host}:${port}`] },
    STATEMENT_TIMEOUT_MS,
  );
  const end = watchProgress(job);
  const cancel = (): void =>
    void servers.askAside(target.backend, `KILL QUERY ${connection.threadId}`).catch(() => undefined); // it has ended by itself
  job.world.stopping?.addEventListener('abort', cancel);
  try {
    job.world.stopping?.throwIfAborted();
    const values = [account.monitorUser, host, port, account.monitorPassword];
    await connection.run({ sql: 'CLONE INSTANCE FROM ?@?:? IDENTIFIED BY ?', values }, CLONE_TIMEOUT_MS);
  } catch (error) {
    if (!isRestart(error)) throw error;
  } finally {
    job.world.stopping?.removeEventListener('abort', cancel);
    end();
    connection.close();
  }
  const row = await untilBack(job);
  if (text(row?.state) !== 'Completed')
    throw new Error(`the server says: ${text(row?.message) || text(row?.state)}`);
  return `cloned from ${source.backend.name} by the clone plugin`;
}

async function install({ servers, source, target }: CloneJob): Promise<void> {
  if (target.facts.superReadOnly) await servers.ask(target.backend, 'SET GLOBAL super_read_only = 0');
  for (const { backend, words } of [source, target]) {
    const plugin = words.clonePlugin!;
    const found = await servers.ask(
      backend,
      `SELECT plugin_name AS name FROM information_schema.plugins WHERE plugin_name = '${plugin.name}'`,
    );
    if (found.length === 0) await servers.ask(backend, plugin.install);
  }
}

/** Tells how far the copying is; answers what ends that. */
function watchProgress({ world, servers, target, tell }: CloneJob): () => void {
  let asking = false;
  const timer = world.clock.every(PROGRESS_MS, () => {
    if (asking) return;
    asking = true;
    void servers
      .askAside(target.backend, PROGRESS)
      .then((rows) => rows.forEach((row) => tell(progressOf(row))))
      .catch(() => undefined) // it restarts, most likely; how it went is asked afterwards
      .finally(() => (asking = false));
  });
  return () => timer.cancel();
}

function progressOf(row: Row): string {
  const estimate = Number(row.estimate);
  const share = estimate > 0 ? `, ${Math.floor((Number(row.data) / estimate) * 100)} %` : '';
  return `${text(row.stage)}${share}`;
}

/** The last thing that the server does with the statement is to stop. */
function isRestart(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { errno, code } = error as Error & { errno?: number; code?: string };
  return errno === NOT_MANAGED || errno === SERVER_SHUTDOWN || LOST_CODES.includes(code ?? '');
}

async function untilBack({ world, servers, target, tell }: CloneJob): Promise<Row | undefined> {
  const { clock } = world;
  const startMs = clock.nowMs();
  let said = false;
  for (;;) {
    try {
      await servers.of(target.backend);
      // One that still stops lets in whom it is about to throw out: it is back when it answers.
      const [row] = await servers.ask(target.backend, OUTCOME);
      if (text(row?.state) !== 'In Progress') return row;
      throw new Error('it has not finished yet');
    } catch (error) {
      const waitedMs = clock.nowMs() - startMs;
      if (waitedMs > RESTART_TIMEOUT_MS || world.stopping?.aborted === true) {
        const reason = messageOf(error);
        throw new Error(
          `the data is there, but the server did not come back (${reason}): start it, then say BOOTSTRAP CLUSTER ${target.backend.cluster}`,
        );
      }
      if (waitedMs > RESTART_PATIENCE_MS && !said) {
        said = true;
        tell(
          'the data is there, and the server has stopped to begin with it: start it, where nothing else does',
        );
      }
      await sleep(clock, PROGRESS_MS);
    }
  }
}
