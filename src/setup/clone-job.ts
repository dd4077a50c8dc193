import type { ControlAccount } from '../monitor/connection.ts';
import type { AccountCopy } from './copy.ts';
import type { Inventory } from './inventory.ts';
import type { Servers } from './servers.ts';
import type { Survey } from './survey.ts';
import type { SetupWorld } from './world.ts';

/** What a way of cloning works with. */
export interface CloneJob {
  readonly world: SetupWorld;
  readonly servers: Servers;
  readonly account: ControlAccount;
  readonly source: Survey;
  readonly target: Survey;
  readonly stock: Inventory;
  /** Those of the source that the target lacks. A clone plugin brings them itself. */
  readonly accounts: AccountCopy;
  /** Tells how far it has come. */
  readonly tell: (detail: string) => void;
}
