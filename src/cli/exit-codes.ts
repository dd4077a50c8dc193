/** What the exit codes mean; sysexits.h has them too. */
export const EXIT = { well: 0, notWell: 1, usage: 64, missing: 69, tryAgain: 75, badConfig: 78 } as const;
