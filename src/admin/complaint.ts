/**
 * Errors that are longer than clients show. MySQL's own client library, and so its command line and most drivers, keep
 * 511 bytes of an error's text (MYSQL_ERRMSG_SIZE), and what mends it often stands at the end, as GRANTs do. So a long
 * one begins with where the whole of it is: SHOW WARNINGS has it line by line, and rows are not cut.
 */

/** So much of an error's text comes to be read. */
const SHOWN_BYTES = 511;

const HINT = '(SHOW WARNINGS has all of it, line by line) ';

/** The text as it is sent. */
export function withHint(message: string): string {
  return Buffer.byteLength(message) > SHOWN_BYTES ? `${HINT}${message}` : message;
}

/** The text without where else it is to be had, for who has all of it. */
export function withoutHint(message: string): string {
  return message.startsWith(HINT) ? linesOf(message.slice(HINT.length)).join('\n  ') : message;
}

/** A long text in lines: its parts, as they are put together with semicolons. */
export function linesOf(message: string): string[] {
  return Buffer.byteLength(message) > SHOWN_BYTES ? message.split(/(?<=;) /) : [message];
}
