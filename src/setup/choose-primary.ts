/**
 * Which server of a cluster is to be the primary, and what stands in the way of a bootstrap. Pure.
 */
import { agree } from '../base/grammar.ts';
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
    ...missingRights(surveys, actsAs),
  ];
}

/**
 * What has to be granted, and where: a replica gets from its source what that one has to be given, and what it lacks alone
 * must not be in its own log.
 */
function missingRights(surveys: readonly Survey[], actsAs: string): string[] {
  const grants = new Map(
    surveys.map((survey) => {
      const needed = [...survey.words.monitorPrivileges, ...survey.words.bootstrapPrivileges];
      const missing = missingPrivileges(survey.grants, needed).filter(({ optional }) => optional !== true);
      return [survey, grantStatements(missing, actsAs).join('; ')];
    }),
  );
  const comesFrom = (survey: Survey, source: Survey): boolean =>
    follows(survey, source) && grants.get(survey) === grants.get(source);
  const lacking = surveys.filter((survey) => grants.get(survey) !== '');
  const isFirst = (survey: Survey): boolean => !lacking.some((source) => comesFrom(survey, source));
  const reached = new Set<Survey>();
  const told: string[] = [];
  // In a ring nobody is first, and any of them reaches the others.
  for (const survey of lacking.toSorted((one, other) => Number(isFirst(other)) - Number(isFirst(one)))) {
    if (reached.has(survey)) continue;
    const others = new Set([survey]);
    for (const source of others) {
      for (const other of lacking) if (comesFrom(other, source)) others.add(other);
    }
    for (const one of others) reached.add(one);
    others.delete(survey);
    const names = [...others].map(({ backend }) => backend.name);
    const rest =
      names.length === 0 ? '' : ` (${names.join(', ')} ${agree(names, 'gets', 'get')} it by replication)`;
    const isAlone = survey.facts.replication !== null && names.length === 0;
    told.push(
      `${survey.backend.name}: ${actsAs} may not do all that this takes; grant it, and revoke it afterwards if you like: ${isAlone ? 'SET SESSION sql_log_bin = 0; ' : ''}${grants.get(survey)!}${rest}`,
    );
  }
  return told;
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
