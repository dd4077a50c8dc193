/**
 * Which server of a cluster is to be the primary, and what stands in the way of a bootstrap. Pure.
 */
import { grantStatements } from '../monitor/flavour/setup.ts';
import { findingsOf } from './cluster-rules.ts';
import type { ClusterSurvey } from './finding.ts';
import { missingPrivileges } from '../monitor/flavour/grants.ts';
import { follows, primaryAmong } from './roles.ts';
import type { Survey } from './survey.ts';

/** What the choice depends on. */
export interface Candidates {
  readonly surveys: readonly Survey[];
  /** As it is now; the one with the highest is preferred, 0 is never chosen. */
  readonly rwWeight: (backend: string) => number;
  readonly remembered: string | null;
  /** Servers that hold data. */
  readonly withData: ReadonlySet<string>;
}

/**
 * 1. The one that is remembered: a bootstrap moves nobody.
 * 2. The one that takes the writes, or that all others follow.
 * 3. The only one that has data.
 * 4. The highest rw_weight, and of equal ones the first in the file.
 */
export function choosePrimary({ surveys, rwWeight, remembered, withData }: Candidates): Survey | null {
  const known = surveys.find(({ backend }) => backend.name === remembered);
  if (known !== undefined) return known;
  const eligible = surveys.filter(({ backend }) => rwWeight(backend.name) > 0);
  const leading = primaryAmong(surveys);
  if (leading !== null && eligible.includes(leading)) return leading;
  const full = eligible.filter(({ backend }) => withData.has(backend.name));
  if (full.length === 1 && withData.size === 1) return full[0]!;
  return (
    eligible.toSorted((one, other) => rwWeight(other.backend.name) - rwWeight(one.backend.name))[0] ?? null
  );
}

/** Why a cluster cannot be bootstrapped as it is, each with what to do; empty when it can. */
export function obstacles(all: ClusterSurvey, actsAs: string): string[] {
  const { surveys } = all;
  const blocking = findingsOf(all).filter(({ blocksBootstrap }) => blocksBootstrap);
  return [
    ...blocking.map(
      ({ subject, words, remedy }) => `${subject}: ${words}${remedy === '' ? '' : ` (${remedy})`}`,
    ),
    ...surveys.flatMap((survey) => {
      const needed = [...survey.words.monitorPrivileges, ...survey.words.bootstrapPrivileges];
      const missing = missingPrivileges(survey.grants, needed).filter(({ optional }) => optional !== true);
      if (missing.length === 0) return [];
      const grants = grantStatements(missing, actsAs);
      return [
        `${survey.backend.name}: ${actsAs} may not do all that this takes; grant it, and revoke it afterwards if you like: ${grants.join('; ')}`,
      ];
    }),
  ];
}

/** Why this server cannot be the primary of the others; empty when it can. */
export function objectionsTo(
  primary: Survey,
  {
    surveys,
    rwWeight,
    remembered,
    filled,
  }: Omit<Candidates, 'withData'> & { readonly filled: string | null },
): string[] {
  const { name } = primary.backend;
  const objections: string[] = [];
  if (remembered !== null && remembered !== name) {
    objections.push(
      `${remembered} is remembered as the primary, and BOOTSTRAP moves nobody: use SWITCHOVER or PROMOTE`,
    );
  }
  if (rwWeight(name) === 0) {
    objections.push(
      `${name} has rw_weight = 0, so it is never the primary: SET BACKEND ${name} RW_WEIGHT = 1`,
    );
  }
  for (const survey of surveys) {
    const { replication } = survey.facts;
    const joins = survey !== primary && replication === null;
    if (joins && survey.followers > 0) {
      objections.push(
        `${survey.followers} connection(s) read the binary log of ${survey.backend.name}, which would begin anew: end them first`,
      );
    }
    if (joins && survey.backend.channel !== undefined) {
      objections.push(
        `${survey.backend.name} has channel = ${survey.backend.channel}, and BOOTSTRAP sets up no channel of a name: do that by hand`,
      );
    }
    if (replication === null || (survey !== primary && follows(survey, primary))) continue;
    // What was copied from a replica believes to follow that one's source; the plan ends that.
    if (survey.backend.name === filled) continue;
    const source = `${replication.sourceHost}:${replication.sourcePort}`;
    const wanted = survey === primary ? 'it is to be the primary' : `not from ${name}`;
    objections.push(
      `${survey.backend.name} replicates from ${source}, ${wanted}: if that is no more wanted, ${survey.flavour.stopReplication}; ${survey.flavour.forgetSource};`,
    );
  }
  return objections;
}
