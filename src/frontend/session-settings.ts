/**
 * What a SET means for a session that changes connections: which of its assignments can be repeated on
 * another connection with the same result, which need their value read back first because it was computed,
 * and which cannot be repeated at all, so that they pin the session to the connection it has.
 */
import type { TypedValue } from '../backend/own-answers.ts';
import { type Settings } from '../backend/settings.ts';
import type { Assignment } from '../sql/set-statement.ts';

/** What came of the assignments of one SET that has succeeded. */
export interface SettingsOutcome {
  readonly settings: Settings;
  /** Session variables whose value must be asked for: it was computed, or has several spellings. */
  readonly readBack: readonly string[];
  /** Why the session is pinned now; null when it is not. */
  readonly pin: string | null;
  /** What it said of the next transaction only; null: nothing. */
  readonly nextTransaction: NextTransaction | null;
}

/** What SET TRANSACTION has said of the next transaction. */
export type NextTransaction = Pick<Extract<Assignment, { kind: 'transaction' }>, 'isolation' | 'access'>;

/** The names that a server knows the variables of transactions by. */
export interface TransactionNames {
  readonly isolation: 'tx_isolation' | 'transaction_isolation';
  readonly readOnly: 'tx_read_only' | 'transaction_read_only';
}

/**
 * Session variables that have the same effect on any connection to any server of a cluster. What is not here
 * belongs to one connection or one server (sql_log_bin, gtid_next, insert_id, pseudo_…), or nobody has
 * thought about it yet: it pins the session.
 */
const REPEATABLE = new Set([
  'alter_algorithm',
  'auto_increment_increment',
  'auto_increment_offset',
  'autocommit',
  'big_tables',
  'block_encryption_mode',
  'bulk_insert_buffer_size',
  'character_set_client',
  'character_set_results',
  'collation_connection',
  'completion_type',
  'cte_max_recursion_depth',
  'default_storage_engine',
  'default_tmp_storage_engine',
  'default_week_format',
  'div_precision_increment',
  'end_markers_in_json',
  'eq_range_index_dive_limit',
  'explicit_defaults_for_timestamp',
  'foreign_key_checks',
  'group_concat_max_len',
  'histogram_size',
  'idle_readonly_transaction_timeout',
  'idle_transaction_timeout',
  'idle_write_transaction_timeout',
  'information_schema_stats_expiry',
  'innodb_ft_enable_stopword',
  'innodb_lock_wait_timeout',
  'innodb_strict_mode',
  'innodb_table_locks',
  'interactive_timeout',
  'internal_tmp_mem_storage_engine',
  'join_buffer_size',
  'join_cache_level',
  'keep_files_on_create',
  'lc_messages',
  'lc_time_names',
  'lock_wait_timeout',
  'long_query_time',
  'low_priority_updates',
  'max_error_count',
  'max_execution_time',
  'max_heap_table_size',
  'max_join_size',
  'max_length_for_sort_data',
  'max_points_in_geometry',
  'max_recursive_iterations',
  'max_seeks_for_key',
  'max_sort_length',
  'max_sp_recursion_depth',
  'max_statement_time',
  'min_examined_row_limit',
  'mrr_buffer_size',
  'net_read_timeout',
  'net_retry_count',
  'net_write_timeout',
  'new',
  'old_alter_table',
  'old_mode',
  'optimizer_max_subgraph_pairs',
  'optimizer_prune_level',
  'optimizer_search_depth',
  'optimizer_selectivity_sampling_limit',
  'optimizer_switch',
  'optimizer_trace_features',
  'optimizer_use_condition_selectivity',
  'preload_buffer_size',
  'query_alloc_block_size',
  'query_cache_type',
  'query_cache_wlock_invalidate',
  'query_prealloc_size',
  'range_alloc_block_size',
  'range_optimizer_max_mem_size',
  'read_buffer_size',
  'read_rnd_buffer_size',
  'rowid_merge_buff_size',
  'session_track_gtids',
  'session_track_schema',
  'session_track_state_change',
  'session_track_system_variables',
  'session_track_transaction_info',
  'show_create_table_verbosity',
  'show_old_temporals',
  'sort_buffer_size',
  'sql_auto_is_null',
  'sql_big_selects',
  'sql_buffer_result',
  'sql_generate_invisible_primary_key',
  'sql_if_exists',
  'sql_mode',
  'sql_notes',
  'sql_quote_show_create',
  'sql_require_primary_key',
  'sql_safe_updates',
  'sql_select_limit',
  'sql_warnings',
  'standard_compliant_cte',
  'time_zone',
  'tmp_disk_table_size',
  'tmp_memory_table_size',
  'tmp_table_size',
  'transaction_alloc_block_size',
  'transaction_isolation',
  'transaction_prealloc_size',
  'transaction_read_only',
  'tx_isolation',
  'tx_read_only',
  'unique_checks',
  'updatable_views_with_limit',
  'use_stat_tables',
  'wait_timeout',
  'windowing_use_high_precision',
]);

/** A SET of these changes some of many flags and leaves the others as they are. */
const OF_FLAGS = new Set(['optimizer_switch', 'optimizer_trace_features']);

/** True when a SET of a session variable has the same effect elsewhere, whatever has been set before. */
export function isRepeatable(name: string): boolean {
  const canonical = canonicalName(name);
  return REPEATABLE.has(canonical) && !OF_FLAGS.has(canonical);
}

/** With it `id IS NULL` asks for the last insert id, which is of one connection. */
const AUTO_IS_NULL = 'sql_auto_is_null';

const CLIENT = 'character_set_client';
const RESULTS = 'character_set_results';
const CONNECTION = 'collation_connection';

/**
 * Applies what a SET has assigned. `assignments` null: it was not understood. A value that was computed is
 * not in `settings` yet: see `withReadBack`.
 */
export function applyAssignments(
  before: Settings,
  assignments: readonly Assignment[] | null,
  names: TransactionNames,
): SettingsOutcome {
  if (assignments === null) return { ...nothing(before), pin: 'a SET that dbproxy does not understand' };
  let settings = before;
  let pin: string | null = null;
  let nextTransaction: NextTransaction | null = null;
  const readBack: string[] = [];
  for (const assignment of assignments) {
    switch (assignment.kind) {
      case 'setting': {
        const name = canonicalName(assignment.name, names);
        const value = assignment.isLiteral ? literalOf(name, assignment.value) : null;
        if (!REPEATABLE.has(name) || (name === AUTO_IS_NULL && !isOff(assignment.value))) {
          pin = `SET ${assignment.name}`;
        } else if (value === null) readBack.push(name);
        else settings = settings.withVariable(name, value);
        if (isCharacterSet(name) && hasTexts(before)) pin = TEXTS_PIN;
        break;
      }
      case 'user_variable': {
        const value = assignment.isLiteral ? normalLiteral(assignment.value) : null;
        if (value === null) readBack.push(userVariable(assignment.name));
        else settings = settings.withUserVariable(assignment.name, value);
        break;
      }
      case 'names':
        if (hasTexts(before)) pin = TEXTS_PIN;
        settings = settings.withNames(namesOf(assignment));
        break;
      case 'character_set':
        if (hasTexts(before)) pin = TEXTS_PIN;
        readBack.push(CLIENT, RESULTS, CONNECTION);
        break;
      case 'transaction':
        if (assignment.scope === 'next') nextTransaction = assignment;
        if (assignment.scope === 'session' && assignment.isolation !== null) {
          settings = settings.withVariable(names.isolation, `'${assignment.isolation.replaceAll(' ', '-')}'`);
        }
        if (assignment.scope === 'session' && assignment.access !== null) {
          settings = settings.withVariable(names.readOnly, assignment.access === 'read only' ? '1' : '0');
        }
        break;
      case 'global':
        break;
      case 'other':
        pin = 'a SET that cannot be repeated';
        break;
    }
  }
  return { settings, readBack, pin, nextTransaction };
}

/**
 * Whether a SET that has failed may have made some of its assignments. Servers check all of them before they make
 * the first, so nearly none has; but GTID_NEXT and global variables may still be refused when they are made.
 * `assignments` null: it was not understood.
 */
export function mayBeSetInPart(assignments: readonly Assignment[] | null): boolean {
  if (assignments === null) return true;
  return assignments.length > 1 && !assignments.every(isCheckedFirst);
}

function isCheckedFirst(assignment: Assignment): boolean {
  switch (assignment.kind) {
    case 'setting':
      return isRepeatable(assignment.name);
    case 'user_variable':
    case 'names':
    case 'character_set':
      return true;
    case 'transaction':
    case 'global':
    case 'other':
      return false;
  }
}

/** Puts a value in that a server has told; null when it is none that can be written down safely. */
export function withReadBack(settings: Settings, name: string, value: string | null): Settings | null {
  if (value === null) return settings.withVariable(name, 'NULL');
  if (/^-?\d{1,20}(?:\.\d{1,20})?$/.test(value)) return settings.withVariable(name, value);
  const quoted = quoteText(value);
  return quoted === null ? null : settings.withVariable(name, quoted);
}

/** A user variable as SQL, and as `readBack` names it. */
function userVariable(name: string): string {
  return `@\`${name.replaceAll('`', '``')}\``;
}

/** Column type of whole numbers: the one type of a computed user variable whose value says all of it. */
const LONGLONG = 0x08;

/** The same for a user variable; null when its value is none that means the same wherever it is written down. */
export function withUserValue(
  settings: Settings,
  variable: string,
  { value, type, isUnsigned }: TypedValue,
): Settings | null {
  if (type !== LONGLONG || value === null || !/^-?\d{1,20}$/.test(value)) return null;
  const literal = isUnsigned ? `CAST(${value} AS UNSIGNED)` : value;
  return settings.withUserVariable(variable.slice(2, -1).replaceAll('``', '`'), literal);
}

/** The words of a SET NAMES. */
function namesOf({ characterSet, collation }: Extract<Assignment, { kind: 'names' }>): string {
  const name = characterSet === 'default' ? 'DEFAULT' : `'${characterSet}'`;
  return collation === null ? name : `${name} COLLATE '${collation}'`;
}

function nothing(settings: Settings): SettingsOutcome {
  return { settings, readBack: [], pin: null, nextTransaction: null };
}

const TEXTS_PIN = 'user variables with texts in the character set before';

function isCharacterSet(name: string): boolean {
  return name === CLIENT || name === RESULTS || name === CONNECTION;
}

/** A text in a user variable has the character set that the connection had when it was set. */
function hasTexts(settings: Settings): boolean {
  for (const value of settings.userVariables.values()) if (value.startsWith("'")) return true;
  return false;
}

/** The names of a cluster's servers for the variables of transactions, of which some know only one. */
function canonicalName(name: string, names?: TransactionNames): string {
  if (name === 'character_set_connection') return CONNECTION;
  if (names === undefined) return name;
  if (name === 'tx_isolation' || name === 'transaction_isolation') return names.isolation;
  if (name === 'tx_read_only' || name === 'transaction_read_only') return names.readOnly;
  return name;
}

/** A literal as it is kept; null where the server's own spelling is wanted. */
function literalOf(name: string, value: string): string | null {
  if (isCharacterSet(name) || name === 'sql_mode' || OF_FLAGS.has(name)) return null;
  if (/^default$/i.test(value)) return null;
  if (name === 'autocommit') {
    if (/^(?:1|on|true)$/i.test(value)) return '1';
    return isOff(value) ? '0' : null;
  }
  return normalLiteral(value);
}

function isOff(value: string): boolean {
  return /^(?:0|off|false)$/i.test(value);
}

/** A number, a bare word, or a text in single quotes; null for what may mean something else elsewhere. */
function normalLiteral(value: string): string | null {
  if (/^[+-]?\d{1,30}(?:\.\d{1,30})?$/.test(value)) return value;
  if (/^[a-z_][a-z0-9_]{0,63}$/i.test(value)) return value.toLowerCase();
  const quoted = /^'((?:[^'\\]|'')*)'$/.exec(value);
  return quoted === null ? null : quoteText(quoted[1]!.replaceAll("''", "'"));
}

/** Plain ASCII without a backslash means the same under every sql_mode and character set. */
function quoteText(text: string): string | null {
  return /^[\x20-\x5b\x5d-\x7e]{0,4096}$/.test(text) ? `'${text.replaceAll("'", "''")}'` : null;
}
