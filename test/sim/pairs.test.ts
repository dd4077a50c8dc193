/** The same with two dbproxies, one of which acts. */
import { PAIRS, testHistories } from './histories.ts';

testHistories(PAIRS);
