/**
 * What the answer to a COM_STMT_PREPARE tells of parameters and columns, as a hash: two servers that say the same of a
 * statement give the same. A client that keeps the columns (MARIADB_CLIENT_CACHE_METADATA) is not told them again, so
 * another server may serve its statement only when it would have told the same.
 * Manual: page_protocol_com_stmt_prepare; MariaDB, COM_STMT_PREPARE.
 */
import { createHash } from 'node:crypto';
import { HEADER_BYTES } from '../protocol/constants.ts';

export class ColumnsHash {
  readonly #hash = createHash('sha256');
  /** Bytes of the first packet, with its header, that are still to be left out; it has the number and the warnings. */
  #left = HEADER_BYTES;
  readonly #head: number[] = [];
  #digest: string | null = null;

  /** The next bytes of the answer, as the server sends them. */
  add(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length && this.#left > 0) {
      if (this.#head.length < HEADER_BYTES) {
        this.#head.push(bytes[at]!);
        if (this.#head.length === HEADER_BYTES) this.#left += this.#head[0]! | (this.#head[1]! << 8);
      }
      this.#left--;
      at++;
    }
    if (at < bytes.length) this.#hash.update(bytes.subarray(at));
  }

  digest(): string {
    return (this.#digest ??= this.#hash.digest('hex'));
  }
}
