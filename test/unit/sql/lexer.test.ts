import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ANY_DIALECT, isWordToken, Lexer, Token } from '../../../src/sql/lexer.ts';

/** Tokens in short: words in capitals, quoted text and others as they are. */
function tokens(sql: string): string[] {
  const text = Buffer.from(sql);
  const lexer = new Lexer();
  lexer.begin(text, 0, text.length, ANY_DIALECT);
  const found: string[] = [];
  for (let token = lexer.next(); token !== Token.END; token = lexer.next()) {
    found.push(
      isWordToken(token) || (token > Token.PLACEHOLDER && token <= Token.SYSTEM_VARIABLE)
        ? lexer.word()
        : text.toString('utf8', lexer.tokenStart, lexer.tokenEnd),
    );
  }
  return found;
}

const cases: [name: string, sql: string, expected: string[]][] = [
  ['words, marks and semicolons', 'select a,b;', ['SELECT', 'A', ',', 'B', ';']],
  ['variables', 'set @a = @@session.x_1$', ['SET', '@A', '=', '@@SESSION', '.', 'X_1$']],
  ['all blanks', '\t a\r\n\vb\f\0c ', ['A', 'B', 'C']],
  ['a comment', 'a/* b; "c */d', ['A', 'D']],
  ['the shortest comment', 'a/**/b', ['A', 'B']],
  ['a comment is not closed by its own star', 'a/*/ b */c', ['A', 'C']],
  ['a comment without its end', 'a /* b', ['A']],
  ['a line comment', 'a -- b\nc', ['A', 'C']],
  ['a line comment at the end', 'a --', ['A']],
  ['two minus signs are arithmetic', 'a --1', ['A', '-', '-', '1']],
  ['a hash comment', 'a # b ; c\nd', ['A', 'D']],
  ['an executable comment is code', '/*!50000 set */ a', ['SET', 'A']],
  ['an executable comment without a version', '/*!set*/a', ['SET', 'A']],
  ["MariaDB's executable comment", '/*M!100100 set */a', ['SET', 'A']],
  ['a comment in an executable comment', '/*! a /* b */ c */ d', ['A', 'C', 'D']],
  ['a star and a slash outside a comment', 'a */* b */ c', ['A', '*', 'C']],
  ['single quotes', "'a b' c", ["'a b'", 'C']],
  ['a doubled quote', "'it''s' c", ["'it''s'", 'C']],
  ['an escaped quote', "'it\\'s' c", ["'it\\'s'", 'C']],
  ['an escaped backslash', "'a\\\\' c", ["'a\\\\'", 'C']],
  ['double quotes', '"a \'b" c', ['"a \'b"', 'C']],
  ['backquotes know no backslash', '`a\\` c', ['`a\\`', 'C']],
  ['a doubled backquote', '`a``b` c', ['`a``b`', 'C']],
  ['a quote without its end', "a 'b; c", ['A', "'b; c"]],
  ['a quote that ends in a backslash', "a 'b\\", ['A', "'b\\"]],
  ['the empty string', "'' a", ["''", 'A']],
  ['quotes hide comments', "'/*' a '*/'", ["'/*'", 'A', "'*/'"]],
  ['nothing', '', []],
];

for (const [name, sql, expected] of cases) {
  test(`${name}: ${JSON.stringify(sql)}`, () => {
    assert.deepEqual(tokens(sql), expected);
  });
}

test('characters beyond ASCII are parts of words', () => {
  const text = Buffer.from('größe + ☃');
  const lexer = new Lexer();
  lexer.begin(text, 0, text.length, ANY_DIALECT);
  assert.ok(isWordToken(lexer.next()));
  assert.equal(text.toString('utf8', lexer.tokenStart, lexer.tokenEnd), 'größe');
  assert.equal(lexer.next(), 0x2b);
  assert.ok(isWordToken(lexer.next()));
  assert.equal(lexer.next(), Token.END);
  assert.equal(lexer.next(), Token.END);
});

test('what lies outside the bounds is not read', () => {
  const text = Buffer.from("x'select'x");
  const lexer = new Lexer();
  lexer.begin(text, 2, 8, ANY_DIALECT);
  assert.ok(isWordToken(lexer.next()));
  assert.equal(lexer.word(), 'SELECT');
  assert.equal(lexer.next(), Token.END);
});
