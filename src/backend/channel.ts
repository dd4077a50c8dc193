/**
 * How a server is connected to, by its configuration.
 */
import { readFileSync } from 'node:fs';
import type { BackendConfig } from '../config/config.ts';
import { tlsClient } from '../transport/tls-stream.ts';
import type { BackendChannel } from './wish.ts';

type ChannelConfig = Pick<
  BackendConfig,
  'tls' | 'tlsCa' | 'tlsCert' | 'tlsKey' | 'compression' | 'proxyProtocol'
>;

/** Everything but the address, which a snapshot may change. Reads the files of the certificates; throws when that fails. */
export function channelOf(config: ChannelConfig): Omit<BackendChannel, 'endpoint'> {
  const { tls, compression, proxyProtocol } = config;
  return {
    // To verify is to require, and to look closer.
    tls: tls === 'verify' ? 'required' : tls,
    tlsClient: tls === 'off' ? null : tlsClientOf(config),
    compression,
    sendsProxyHeader: proxyProtocol === 'v2',
  };
}

function tlsClientOf({ tls, tlsCa, tlsCert, tlsKey }: ChannelConfig): BackendChannel['tlsClient'] {
  const ca = tlsCa === undefined ? null : readFileSync(tlsCa, 'utf8');
  const hasOwn = tlsCert !== undefined && tlsKey !== undefined;
  const own = hasOwn ? { cert: readFileSync(tlsCert, 'utf8'), key: readFileSync(tlsKey, 'utf8') } : null;
  return tlsClient({ verify: tls === 'verify', ca, own });
}
