/**
 * The connection attributes that a session shows on its server: the client's own, and two of dbproxy's, so
 * that performance_schema.session_connect_attrs tells who is behind a connection that comes from a proxy.
 * Manual: page_protocol_connection_phase_packets_protocol_handshake_response (connection attributes).
 */
import { PROGRAM_VERSION } from '../base/version.ts';
import { PacketWriter } from '../protocol/writer.ts';

/** Servers refuse more than this in all. */
const MAX_ATTRIBUTES_BYTES = 64 * 1024;

/**
 * Encoded key/value pairs, without their total length. The client's stand first: a server that has room for
 * some of them only (performance_schema_session_connect_attrs_size) keeps those.
 */
export function sessionAttributes(ofClient: Buffer, clientAddress: string): Buffer {
  const ours = new PacketWriter()
    .lenencText('dbproxy_version')
    .lenencText(PROGRAM_VERSION)
    .lenencText('dbproxy_client')
    .lenencText(clientAddress)
    .take();
  return ofClient.length + ours.length > MAX_ATTRIBUTES_BYTES ? ofClient : Buffer.concat([ofClient, ours]);
}
