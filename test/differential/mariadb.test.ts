/** The differential suite at MariaDB 10.11. */
import { differentialSuite } from './suite.ts';

differentialSuite('mariadb');
