/**
 * Arbiters as the configuration writes them: `none`, or a list of `ping:IP`, `tcp:IP:PORT` and `etcd:URL[,URL…]`.
 * Names are refused: a name server that is not to be reached would look like an arbiter that is not.
 */
import { isIP } from 'node:net';
import { parseEndpoint } from '../base/address.ts';

/** A third party that is asked whether it answers us. */
export type ArbiterConfig =
  | { readonly kind: 'ping'; readonly host: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  /** One that also decides who of several dbproxies acts; these are members of one etcd. */
  | { readonly kind: 'etcd'; readonly urls: readonly string[] };

/** The word for no arbiter. */
export const NO_ARBITER = 'none';

/** The list as it is written, one text an arbiter: what follows the first URL of an etcd is more of them. */
export function splitArbiters(text: string): string[] {
  const arbiters: string[] = [];
  for (const part of text.split(',').map((one) => one.trim())) {
    const last = arbiters.length - 1;
    if (isUrl(part) && arbiters[last]?.startsWith('etcd:') === true) arbiters[last] += `,${part}`;
    else arbiters.push(part);
  }
  return arbiters;
}

/** Reads one arbiter; answers what is wrong with it otherwise. */
export function parseArbiter(text: string): ArbiterConfig | { readonly problem: string } {
  if (text.startsWith('etcd:')) return parseEtcd(text);
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
  return {
    problem: `'${text}' is not an arbiter; write ${NO_ARBITER}, ping:IP, tcp:IP:PORT or etcd:URL[,URL…]`,
  };
}

/** The voting one of these arbiters; undefined: there is none. */
export function votingArbiter(
  arbiters: readonly string[],
): (ArbiterConfig & { readonly kind: 'etcd' }) | undefined {
  return arbiters
    .map((text) => parseArbiter(text))
    .filter((parsed) => 'kind' in parsed)
    .find((parsed) => parsed.kind === 'etcd');
}

function isUrl(text: string): boolean {
  return /^https?:\/\//.test(text);
}

function parseEtcd(text: string): ArbiterConfig | { readonly problem: string } {
  const urls: string[] = [];
  for (const written of text.slice('etcd:'.length).split(',')) {
    const url = isUrl(written) && URL.canParse(written) ? new URL(written) : null;
    const host = url?.hostname.replace(/^\[(.*)\]$/, '$1') ?? '';
    // Never repeated: a password may be in it.
    if (url !== null && (url.username !== '' || url.password !== ''))
      return { problem: 'a URL of etcd has an account in it; write etcd_user and etcd_password instead' };
    if (url === null || isIP(host) === 0 || url.pathname !== '/' || url.search + url.hash !== '')
      return { problem: `'${written}' is not a URL such as http://10.0.0.1:2379, with an IP address` };
    if (urls.includes(url.origin)) return { problem: `'${written}' is given twice` };
    urls.push(url.origin);
  }
  const schemes = new Set(urls.map((url) => url.split(':')[0]));
  return schemes.size > 1
    ? { problem: 'the URLs of one etcd are all https or all http' }
    : { kind: 'etcd', urls };
}
