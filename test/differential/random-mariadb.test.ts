/** The differential random test at MariaDB 10.11. */
import { randomSuite } from './random/suite.ts';

randomSuite('mariadb');
