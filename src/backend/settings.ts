/**
 * The settings of a session as one immutable value: its database, the session variables it has set, and its
 * user variables. A connection that served one session is brought to the next one's settings by the
 * difference of the two; connections with equal settings need nothing.
 *
 * Values are SQL text that means the same under every sql_mode and character set: numbers, bare words and
 * strings of plain ASCII in single quotes.
 */

/**
 * SET NAMES is kept as it was said: servers take more from it than its three variables show (the collation of
 * what they tell of results). Variables that were set after it stand beside it.
 */
export const NAMES = 'names';

/** What decides how text is read: it is set before all else, and NAMES before the others, which it sets, too. */
const CHARACTER_SETS = [
  NAMES,
  'character_set_client',
  'character_set_results',
  'collation_connection',
] as const;

/** What must be done to get from one set of settings to another. */
export type SettingsChange =
  /** `database`: to be selected, null when it is the right one; `statements`: SETs, in this order. */
  | { readonly kind: 'set'; readonly database: string | null; readonly statements: readonly string[] }
  /** Something must be taken back that no SET takes back exactly: the connection has to begin anew. */
  | { readonly kind: 'reset' };

const NOTHING: SettingsChange = { kind: 'set', database: null, statements: [] };
const RESET: SettingsChange = { kind: 'reset' };

type Values = ReadonlyMap<string, string>;
const NO_VALUES: Values = new Map<string, string>();

export class Settings {
  /** Equal for equal settings. */
  readonly key: string;
  /** Empty when none is selected. Bytes as the client sent them, decoded as latin1. */
  readonly database: string;
  readonly variables: Values;
  readonly userVariables: Values;

  private constructor(database: string, variables: Values, userVariables: Values) {
    this.database = database;
    this.variables = variables;
    this.userVariables = userVariables;
    this.key = keyOf(database, variables, userVariables);
  }

  /** Those of a session that has just logged in. */
  static initial(database: string): Settings {
    return new Settings(database, NO_VALUES, NO_VALUES);
  }

  withDatabase(database: string): Settings {
    return database === this.database ? this : new Settings(database, this.variables, this.userVariables);
  }

  /** A session variable; `value` null: it is as after the login. */
  withVariable(name: string, value: string | null): Settings {
    if ((this.variables.get(name) ?? null) === value) return this;
    return new Settings(this.database, changed(this.variables, name, value), this.userVariables);
  }

  /** After SET NAMES, whose words are `names`. */
  withNames(names: string): Settings {
    const variables = new Map(this.variables);
    for (const name of CHARACTER_SETS) variables.delete(name);
    variables.set(NAMES, names);
    return new Settings(this.database, variables, this.userVariables);
  }

  withUserVariable(name: string, value: string): Settings {
    if (this.userVariables.get(name) === value) return this;
    return new Settings(this.database, this.variables, changed(this.userVariables, name, value));
  }

  equals(other: Settings): boolean {
    return this === other || this.key === other.key;
  }

  /** How a connection with these settings comes to `wanted`. */
  changeTo(wanted: Settings): SettingsChange {
    if (this.equals(wanted)) return NOTHING;
    const takesBack =
      (wanted.database === '' && this.database !== '') ||
      this.#mustLose(wanted) ||
      lacksSome(wanted.userVariables, this.userVariables);
    if (takesBack) return RESET;
    // A text has the collation that is in force when its statement is read, so texts come in one of their own.
    const characterSets = this.#characterSetsOf(wanted);
    const others: string[] = [];
    for (const [name, value] of wanted.variables) {
      if (!isCharacterSet(name) && this.variables.get(name) !== value) others.push(assignment(name, value));
    }
    for (const [name, value] of wanted.userVariables) {
      if (this.userVariables.get(name) !== value) others.push(`@${quoteName(name)} = ${value}`);
    }
    return {
      kind: 'set',
      database: wanted.database === this.database ? null : wanted.database,
      statements: [characterSets, others]
        .filter((list) => list.length > 0)
        .map((list) => `SET ${list.join(', ')}`),
    };
  }

  /** It has variables that the other ones do not speak of. SET NAMES speaks of all character sets. */
  #mustLose({ variables }: Settings): boolean {
    const names = variables.has(NAMES);
    for (const name of this.variables.keys()) {
      if (!variables.has(name) && !(names && isCharacterSet(name))) return true;
    }
    return false;
  }

  #characterSetsOf(wanted: Settings): string[] {
    const list: string[] = [];
    const isMore = CHARACTER_SETS.some((name) => this.variables.has(name) && !wanted.variables.has(name));
    const renames = isMore || this.variables.get(NAMES) !== wanted.variables.get(NAMES);
    for (const name of CHARACTER_SETS) {
      const value = wanted.variables.get(name);
      if (value === undefined) continue;
      if (renames || this.variables.get(name) !== value) list.push(assignment(name, value));
    }
    return list;
  }
}

function assignment(name: string, value: string): string {
  return name === NAMES ? `NAMES ${value}` : `SESSION ${name} = ${value}`;
}

function isCharacterSet(name: string): boolean {
  return (CHARACTER_SETS as readonly string[]).includes(name);
}

/** `of` has names that `wanted` has not. */
function lacksSome(wanted: Values, of: Values): boolean {
  for (const name of of.keys()) if (!wanted.has(name)) return true;
  return false;
}

function changed(values: Values, name: string, value: string | null): Values {
  const copy = new Map(values);
  if (value === null) copy.delete(name);
  else copy.set(name, value);
  return copy;
}

function quoteName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

function keyOf(database: string, variables: Values, userVariables: Values): string {
  if (variables.size === 0 && userVariables.size === 0) return database;
  const sorted = (values: Values): string[] =>
    [...values].map(([name, value]) => `${name}=${value}`).toSorted((a, b) => (a < b ? -1 : 1));
  return [database, ...sorted(variables), '@', ...sorted(userVariables)].join('\0');
}
