/** The differential random test at MySQL 5.6. */
import { randomSuite } from './random/suite.ts';

randomSuite('mysql56');
