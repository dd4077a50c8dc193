/** The differential suite at MySQL 9.7. */
import { differentialSuite } from './suite.ts';

differentialSuite('mysql97');
