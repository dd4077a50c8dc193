/**
 * How tests connect to servers, unless the way itself is what they are about.
 */
import type { BackendChannel } from '../../src/backend/wish.ts';

/** Neither TLS nor compression nor a PROXY header. */
export const PLAIN_CHANNEL: Omit<BackendChannel, 'endpoint'> = {
  tls: 'off',
  tlsClient: null,
  compression: 'off',
  sendsProxyHeader: false,
};
