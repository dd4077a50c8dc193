/**
 * Arbiters as the configuration writes them: `none`, or a list of `ping:IP` and `tcp:IP:PORT`. Names are
 * refused: a name server that is not to be reached would look like an arbiter that is not.
 */
import { isIP } from 'node:net';
import { parseEndpoint } from '../base/address.ts';

/** A third party that is asked whether it answers us. */
export type ArbiterConfig =
  | { readonly kind: 'ping'; readonly host: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** The word for no arbiter. */
export const NO_ARBITER = 'none';

/** Reads one arbiter; answers what is wrong with it otherwise. */
export function parseArbiter(text: string): ArbiterConfig | { readonly problem: string } {
  if (text.startsWith('etcd:'))
    return { problem: `'${text}' is not available in this version; available: ping:IP, tcp:IP:PORT` };
  if (text === NO_ARBITER) return { problem: `'${NO_ARBITER}' stands alone` };
  if (text.startsWith('ping:')) {
    const host = text.slice('ping:'.length).replace(/^\[(.*)\]$/, '$1');
    return isIP(host) === 0 ? { problem: `'${text}' does not name an IP address` } : { kind: 'ping', host };
  }
  if (text.startsWith('tcp:')) {
    const endpoint = parseEndpoint(text.slice('tcp:'.length));
    return endpoint?.kind === 'tcp' && isIP(endpoint.host) !== 0
      ? { kind: 'tcp', host: endpoint.host, port: endpoint.port }
      : { problem: `'${text}' does not name an IP address and a port` };
  }
  return { problem: `'${text}' is not an arbiter; write ${NO_ARBITER}, ping:IP or tcp:IP:PORT` };
}
