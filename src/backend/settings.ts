/**
 * The settings of a session as one immutable value: its database, the session variables it has set, and its
 * user variables. A connection that served one session is brought to the next one's settings by the
 * difference of the two; connections with equal settings need nothing.
 *
 * Values are SQL text that means the same under every sql_mode and character set: numbers, bare words and
 * strings of plain ASCII in single quotes.
 */

/** Variables that decide how text is read: they are set before all others. */
const CHARACTER_SETS = [
  'character_set_client',
  'character_set_results',
  'character_set_connection',
  'collation_connection',
] as const;

/** What must be done to get from one set of settings to another. */
export type SettingsChange =
  /** `database`: to be selected, null when it is the right one; `sql`: a SET statement, empty for none. */
  | { readonly kind: 'set'; readonly database: string | null; readonly sql: string }
  /** Something must be taken back that no SET takes back exactly: the connection has to begin anew. */
  | { readonly kind: 'reset' };

const NOTHING: SettingsChange = { kind: 'set', database: null, sql: '' };
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
      lacksSome(wanted.variables, this.variables) ||
      lacksSome(wanted.userVariables, this.userVariables);
    if (takesBack) return RESET;
    const assignments: string[] = [];
    for (const name of CHARACTER_SETS) pushChange(assignments, name, this.variables, wanted.variables);
    for (const name of wanted.variables.keys()) {
      if (!isCharacterSet(name)) pushChange(assignments, name, this.variables, wanted.variables);
    }
    for (const [name, value] of wanted.userVariables) {
      if (this.userVariables.get(name) !== value) assignments.push(`@${quoteName(name)} = ${value}`);
    }
    return {
      kind: 'set',
      database: wanted.database === this.database ? null : wanted.database,
      sql: assignments.length === 0 ? '' : `SET ${assignments.join(', ')}`,
    };
  }
}

function isCharacterSet(name: string): boolean {
  return (CHARACTER_SETS as readonly string[]).includes(name);
}

function pushChange(into: string[], name: string, from: Values, to: Values): void {
  const value = to.get(name);
  if (value !== undefined && from.get(name) !== value) into.push(`SESSION ${name} = ${value}`);
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
