/**
 * The steps of a promotion as they are done on the servers: the thin shell around `plan.ts`. Each step is one
 * function of `steps/`, and where there is a way back one more; each ends within a bound, can be done twice, and
 * answers in words what it did. Nothing here decides what comes next.
 */
import type { ClusterConfig } from '../config/config.ts';
import type { Decision } from './check.ts';
import type { StepName } from './plan.ts';
import { catchUp } from './steps/catch-up.ts';
import { connectAhead } from './steps/connect.ts';
import { StepContext } from './steps/context.ts';
import { electTarget } from './steps/elect.ts';
import { makeReadOnlyAgain, makeWritable, restartReplication, stopReplication } from './steps/new-primary.ts';
import { firstNotes, type Notes } from './steps/notes.ts';
import { fence, unfence } from './steps/old-primary.ts';
import { record, recordBack, swapWeights } from './steps/record.ts';
import { repoint, startReceivers, stopReceivers } from './steps/replicas.ts';
import { carrySemiSync } from './steps/semi-sync.ts';
import { endSessions, hold, publish, release } from './steps/sessions.ts';
import type { StepReport } from './steps/step-report.ts';
import type { PromotionWorld } from './steps/world.ts';

interface Step {
  /** Rejects with the reason when it could not be done. */
  readonly do: (context: StepContext) => Promise<StepReport>;
  /** Answers what was taken back; rejects with the reason when it could not be. */
  readonly undo?: (context: StepContext) => Promise<string>;
}

const STEPS: Readonly<Record<StepName, Step>> = {
  hold: { do: hold, undo: release },
  end_sessions: { do: endSessions },
  stop_receivers: { do: stopReceivers, undo: startReceivers },
  elect: { do: electTarget },
  fence: { do: fence, undo: unfence },
  catch_up: { do: catchUp },
  stop_replication: { do: stopReplication, undo: restartReplication },
  record: { do: record, undo: recordBack },
  make_writable: { do: makeWritable, undo: makeReadOnlyAgain },
  weights: { do: swapWeights },
  publish: { do: publish },
  repoint: { do: repoint },
  semi_sync: { do: carrySemiSync },
};

/** The actions of one promotion. */
export class PromotionActions {
  readonly #context: StepContext;

  /** `notes` of a promotion that is taken up again. */
  constructor(world: PromotionWorld, cluster: ClusterConfig, decision: Decision, notes?: Notes) {
    const known = notes ?? firstNotes(world, cluster.name, decision.target.name);
    this.#context = new StepContext(world, cluster, decision, known);
  }

  get notes(): Notes {
    return this.#context.notes;
  }

  /** Makes the connections that the steps will need; answers why that would keep them from their end, null when it would not. */
  connectAhead(): Promise<string | null> {
    return connectAhead(this.#context);
  }

  /** Does one step; rejects with the reason when it could not be done. */
  do(step: StepName): Promise<StepReport> {
    return STEPS[step].do(this.#context);
  }

  /** Takes one step back; rejects with the reason when it could not be. */
  undo(step: StepName): Promise<string> {
    const { undo } = STEPS[step];
    if (undo === undefined) return Promise.reject(new Error(`step ${step} has no way back`));
    return undo(this.#context);
  }

  /** Closes the connections to the servers. */
  close(): void {
    this.#context.close();
  }
}
