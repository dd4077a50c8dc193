/** Errors that end a command, as people and scripts see them. */
import { isRefusal, type ErrorCode } from '../base/errors.ts';
import { EXIT } from './exit-codes.ts';
import { complain } from './output.ts';

const EXIT_OF_REFUSAL: Partial<Record<ErrorCode, number>> = {
  DBPROXY_CONFIG: EXIT.badConfig,
  DBPROXY_NOT_AVAILABLE: EXIT.missing,
  DBPROXY_PROGRAM_MISSING: EXIT.missing,
  DBPROXY_PORT_IN_USE: EXIT.tryAgain,
  DBPROXY_DEMO_RUNNING: EXIT.tryAgain,
  DBPROXY_DEMO_SERVER: EXIT.tryAgain,
};

/** Says what went wrong in a line where that is known, else with all there is to find it; answers the exit code. */
export function explain(error: unknown): number {
  if (isRefusal(error)) {
    complain(error.message);
    return EXIT_OF_REFUSAL[error.code] ?? EXIT.notWell;
  }
  if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
    complain(`${error.message}; stop what listens there and try again`);
    return EXIT.tryAgain;
  }
  complain(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return EXIT.notWell;
}
