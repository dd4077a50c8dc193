/** The simulator: many histories of the real control plane in a simulated world. */
import { ALONE, testHistories } from './histories.ts';

testHistories(ALONE);
