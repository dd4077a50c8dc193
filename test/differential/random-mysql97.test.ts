/** The differential random test at MySQL 9.7. */
import { randomSuite } from './random/suite.ts';

randomSuite('mysql97');
