/** Every case of the differential suite. */
import type { WireCase } from '../compare.ts';
import { commandCases } from './commands.ts';
import { fileCases } from './files.ts';
import { sizeCases } from './sizes.ts';
import { stateCases } from './state.ts';
import { statementCases } from './statements.ts';
import { valueCases } from './values.ts';

export const allCases: readonly WireCase[] = [
  ...valueCases,
  ...statementCases,
  ...commandCases,
  ...fileCases,
  ...stateCases,
  ...sizeCases,
];
