/**
 * What a question about load is: a sysbench script with its options (or our own program, for TLS), a number
 * of clients, and the endpoint that it goes to. The questions themselves are one file each.
 */

/**
 * `tls`: the write endpoint, its clients encrypted where there is a proxy. `split`: reads, spread over both
 * servers where there is a proxy. `mixed`: reads and writes on one address, which dbproxy splits and HAProxy
 * can only send to the primary.
 */
export type Endpoint = 'write' | 'read' | 'tls' | 'split' | 'mixed';

export interface Load {
  /** For `--only` and for programs. */
  name: string;
  /** For people. */
  title: string;
  endpoint: Endpoint;
  clients: number;
  /** A script of sysbench's own by name, or one of ours by path. */
  script: string;
  options: readonly string[];
  /** Also asked by `--quick`. */
  quick: boolean;
}
