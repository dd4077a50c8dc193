/**
 * Reads the form of `proxy.conf`, not its meaning: sections, keys, values, and the line each stands on.
 *
 *   [kind name]
 *   key = value            # a comment
 *   key = 'value'          ; a value in quotes is taken as it stands
 *
 * - A line that begins with `#` or `;` is a comment. Behind a value, a comment begins with `#` or `;` that
 *   has a blank before it, so `pass#word;1` is a whole value.
 * - A value that begins or ends with a blank, or has a blank before `#` or `;`, is put in single or double
 *   quotes. The same quote inside is written twice. Nothing else is special in quotes.
 * - An empty value is written `''`; `key =` alone is an error, as it is mostly a forgotten value.
 */

/** A fault of the file and where it is. */
export interface Problem {
  line: number;
  text: string;
}

/** One `key = value`. */
export interface IniEntry {
  key: string;
  value: string;
  line: number;
  /** The value stood in quotes, so nothing in it has a meaning of its own. */
  quoted: boolean;
  /** A comment stood behind the value. */
  commented: boolean;
}

/** One section with its entries. */
export interface IniSection {
  kind: string;
  /** Empty for `[kind]`. */
  name: string;
  line: number;
  entries: IniEntry[];
  /** Keys whose value could not be read: written, so not missing. */
  brokenKeys: string[];
}

/** Reads a file's text; faults of form are collected and the rest is read all the same. */
export function parseIni(text: string): { sections: IniSection[]; problems: Problem[] } {
  const sections: IniSection[] = [];
  const problems: Problem[] = [];
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/);
  lines.forEach((raw, index) => {
    const line = index + 1;
    const content = raw.trim();
    if (content === '' || content.startsWith('#') || content.startsWith(';')) return;
    const read = content.startsWith('[') ? readHeader(content, line) : readEntry(content, line);
    const section = sections.at(-1);
    if (read.kind === 'section') sections.push(read.section);
    else if (read.kind === 'problem') problems.push({ line, text: read.text });
    else if (section === undefined)
      problems.push({ line, text: `${read.key}: stands before the first [section]` });
    else if (read.kind === 'entry') section.entries.push(read.entry);
    else {
      section.brokenKeys.push(read.key);
      problems.push({ line, text: `${sectionLabel(section)} ${read.key}: ${read.text}` });
    }
  });
  return { sections, problems };
}

/** A section as the file writes it: `[cluster main]`. */
export function sectionLabel({ kind, name }: { kind: string; name: string }): string {
  return name === '' ? `[${kind}]` : `[${kind} ${name}]`;
}

type ReadLine =
  | { kind: 'section'; section: IniSection }
  | { kind: 'entry'; key: string; entry: IniEntry }
  | { kind: 'broken-entry'; key: string; text: string }
  | { kind: 'problem'; text: string };

function readHeader(content: string, line: number): ReadLine {
  const match = /^\[\s*([^\s\]]+)(?:\s+([^\]]*?))?\s*\]\s*(?:[#;].*)?$/.exec(content);
  if (!match) return { kind: 'problem', text: `'${content}' is not a section; write [kind] or [kind name]` };
  return {
    kind: 'section',
    section: { kind: match[1]!, name: match[2] ?? '', line, entries: [], brokenKeys: [] },
  };
}

function readEntry(content: string, line: number): ReadLine {
  const equals = content.indexOf('=');
  const key = equals < 0 ? '' : content.slice(0, equals).trim();
  if (!/^[A-Za-z][\w-]*$/.test(key)) {
    return { kind: 'problem', text: 'this line is neither [section], key = value nor a comment' };
  }
  const value = readValue(content.slice(equals + 1));
  if (typeof value === 'string') return { kind: 'broken-entry', key, text: value };
  return { kind: 'entry', key, entry: { key, line, ...value } };
}

type ReadValue = Pick<IniEntry, 'value' | 'quoted' | 'commented'>;

/** Reads what stands behind `=`; a string says what is wrong with it. */
function readValue(text: string): ReadValue | string {
  const trimmed = text.trim();
  if (trimmed.startsWith("'") || trimmed.startsWith('"')) return readQuoted(trimmed);
  const comment = /(?:^|\s)[#;]/.exec(text);
  const value = (comment ? text.slice(0, comment.index) : text).trim();
  if (value !== '') return { value, quoted: false, commented: comment !== null };
  return comment
    ? "has no value: # or ; after a blank begins a comment; put a value that has it in quotes ('…')"
    : "has no value; write '' when it is to be empty";
}

function readQuoted(text: string): ReadValue | string {
  const quote = text[0]!;
  let value = '';
  let offset = 1;
  for (;;) {
    const close = text.indexOf(quote, offset);
    if (close < 0) return `the quote ${quote} is not closed (inside quotes, write ${quote}${quote} for one)`;
    value += text.slice(offset, close);
    offset = close + 1;
    if (text[offset] !== quote) break;
    value += quote;
    offset++;
  }
  const rest = text.slice(offset).trim();
  if (rest === '') return { value, quoted: true, commented: false };
  if (rest.startsWith('#') || rest.startsWith(';')) return { value, quoted: true, commented: true };
  return `'${rest}' stands behind the closing quote`;
}
