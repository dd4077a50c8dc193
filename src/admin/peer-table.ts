/** SHOW PEER: the two dbproxies of a pair, a row each. */
import type { PeerReport } from '../ipc/operations.ts';
import { tableOf, type Table } from './tables.ts';

/** This one and the other; no rows where there is no other. */
export function peerTable(peers: readonly PeerReport[]): Table {
  const rows = peers.map((peer) => [
    peer.which,
    peer.address,
    peer.state,
    yesNo(peer.holdsVip),
    yesNo(peer.inCharge),
    peer.term,
    peer.epoch,
    peer.revision,
    peer.heardMs,
    peer.clockAheadMs,
    peer.version,
    peer.doing,
    peer.reason,
  ]);
  const columns = [
    'dbproxy',
    'address',
    'state',
    'holds_vip',
    'in_charge',
    'term#',
    'epoch#',
    'revision#',
    'heard_ms#',
    'clock_ahead_ms#',
    'version',
    'doing',
    'reason',
  ];
  return tableOf(columns, rows);
}

function yesNo(value: boolean | null): string {
  if (value === null) return 'unknown';
  return value ? 'yes' : 'no';
}
