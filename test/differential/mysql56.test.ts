/** The differential suite at MySQL 5.6. */
import { differentialSuite } from './suite.ts';

differentialSuite('mysql56');
