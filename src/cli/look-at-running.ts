/** Asks the dbproxy that runs on this host what it has diagnosed, for the doctor. */
import type { AdminConfig } from '../config/config.ts';
import type { RunningDiagnosis, RunningSight } from '../setup/running-rules.ts';
import { askAdmin } from './admin-client.ts';

/** One that stands still must not keep the doctor waiting. */
const TIMEOUT_MS = 5_000;

/** Never rejects. */
export async function lookAtRunning(admin: AdminConfig): Promise<RunningSight> {
  const answer = await askAdmin({ ...admin, statement: 'SHOW DIAGNOSES', timeoutMs: TIMEOUT_MS });
  if (answer.outcome !== 'done') return { kind: 'silent', reason: answer.text };
  const { columns, rows } = answer;
  return {
    kind: 'runs',
    diagnoses: rows.map((row) => {
      const cell = (name: string): string => row[columns.indexOf(name)] ?? '';
      const gravity = cell('gravity') as RunningDiagnosis['gravity'];
      return { cluster: cell('cluster'), name: cell('diagnosis'), gravity, detail: cell('detail') };
    }),
  };
}
