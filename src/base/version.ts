/**
 * Which version this is, by the package.json one folder above the sources.
 */
import { readFileSync } from 'node:fs';

const description = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');

export const PROGRAM_VERSION: string = (JSON.parse(description) as { version: string }).version;
