/**
 * Has a server follow the new primary where there are no global ids: from the place that the handover names, and only
 * when it is certain that its data is what the new primary had there. Whoever is not there yet is brought there; who
 * cannot be is left as it is, with the reason. Nothing is guessed.
 */
import { messageOf } from '../base/message-of.ts';
import type { BackendConfig } from '../config/config.ts';
import type { ServerFacts } from '../monitor/observation.ts';
import type { Handover, LogPlace } from '../topology/state-file.ts';
import { Diverged } from './history.ts';
import { appliedPlace, comparePlaces, describePlace, receivedPlace, standingOf } from './place.ts';
import { LOOK_TIMEOUT_MS, type ServerControl } from './server-control.ts';

export interface PlaceTerms {
  readonly handover: Handover | null;
  /** Bounds of following, and of catching up before that. */
  readonly followMs: number;
  readonly catchUpMs: number;
  /** It may go on receiving from the source that it has, to get there. */
  readonly receives: boolean;
  /** What its log has after the handover has been undone. */
  readonly isUndone?: boolean;
}

/** Rejects with `Diverged` when it has changes that the new primary has not. */
export async function followByPlace(
  server: ServerControl,
  primary: ServerControl,
  terms: PlaceTerms,
): Promise<void> {
  const { backend } = primary;
  const { handover, followMs } = terms;
  const facts = await primary.look(LOOK_TIMEOUT_MS);
  const own = await server.look(LOOK_TIMEOUT_MS);
  const standing = standingOf(own, facts, handover, hasAddressOf(own, backend));
  switch (standing.kind) {
    case 'there':
      return followOn(server, own, backend, followMs);
    case 'unknown':
      throw new Error(needsCopy(server, `it cannot follow ${backend.name}: ${standing.why}`));
    case 'old_primary':
      if (terms.isUndone !== true) await hasNothingOfItsOwn(server, backend, handover!);
      return followFrom(server, primary, handover!, followMs);
    case 'replica':
      await standAt(server, backend, handover!, standing.order, terms);
      return followFrom(server, primary, handover!, followMs);
  }
}

/** The first thing that a new primary writes is its epoch: so it can be seen that its log is what it was. */
async function followFrom(
  server: ServerControl,
  primary: ServerControl,
  { start }: Handover,
  followMs: number,
): Promise<void> {
  const { backend } = primary;
  if ((await primary.logAfter(start)) !== 'epoch_note') {
    const where = `${describePlace(start)} in the log of ${backend.name}`;
    throw new Error(
      needsCopy(server, `${where} is not where its epoch begins any more: it was purged, reset or lost`),
    );
  }
  return server.follow(backend, followMs, false, start);
}

/** Rejects when it is not certain that an old primary has nothing which its successor has not. */
export async function hasNothingOfItsOwn(
  server: ServerControl,
  primary: BackendConfig,
  { end }: Handover,
): Promise<void> {
  const { name } = server.backend;
  switch (await server.logAfter(end)) {
    case 'nothing':
      return;
    case 'epoch_note':
    case 'own_changes':
      throw new Diverged(`changes in its log after ${describePlace(end)}`, primary.name);
    case 'changes_of_others':
      throw new Error(
        needsCopy(server, `${name} has followed somebody since the handover, so its place is not known`),
      );
    case 'is_short':
      throw new Error(
        needsCopy(
          server,
          `the log of ${name} ends before ${describePlace(end)}, which ${primary.name} has: it has lost changes, or its log was purged`,
        ),
      );
  }
}

/** Whose source is the new primary already goes on from where it stands. */
async function followOn(
  server: ServerControl,
  own: ServerFacts,
  source: BackendConfig,
  followMs: number,
): Promise<void> {
  // Of one that applies several at once, the place does not say all.
  if (own.whyNotByPlace !== '') return server.startReplication();
  await server.stopReplication(true, followMs);
  const applied = appliedPlace(await server.look(LOOK_TIMEOUT_MS));
  if (applied === null) return server.startReplication();
  return server.follow(source, followMs, false, applied);
}

/** Brings a replica of the old primary to the end of what the new one has of its log, and stops it there. */
async function standAt(
  server: ServerControl,
  primary: BackendConfig,
  { end, received }: Handover,
  order: number,
  { receives, catchUpMs }: PlaceTerms,
): Promise<void> {
  const { name } = server.backend;
  if (order < 0) {
    await server.bringTo(end, receives, catchUpMs).catch((error: unknown) => {
      const why = messageOf(error);
      throw new Error(
        needsCopy(
          server,
          `${name} cannot follow ${primary.name}, which has what ${name} has not and can get from the log of the old primary alone: ${why}`,
        ),
        { cause: error },
      );
    });
  }
  await server.stopReplication(true, catchUpMs);
  const facts = await server.look(LOOK_TIMEOUT_MS);
  const applied = appliedPlace(facts);
  if (isBeyond(applied, end)) {
    throw new Diverged(
      `it has applied ${describePlace(applied)}, beyond ${describePlace(end)}`,
      primary.name,
    );
  }
  if (applied === null || comparePlaces(applied, end) !== 0) {
    throw new Error(
      needsCopy(server, `${name} has applied ${describePlace(applied)}, not ${describePlace(end)}`),
    );
  }
  // Nobody else may have it; what was received by the new primary and is no whole transaction is worth nothing.
  const own = receivedPlace(facts);
  if (!receives && isBeyond(own, received)) {
    throw new Diverged(
      `it has received ${describePlace(own)}, beyond ${describePlace(received)}`,
      primary.name,
    );
  }
}

function isBeyond(place: LogPlace | null, than: LogPlace): boolean {
  const order = place === null ? null : comparePlaces(place, than);
  return order !== null && order > 0;
}

function hasAddressOf({ replication }: ServerFacts, { address }: BackendConfig): boolean {
  return (
    replication !== null &&
    address.kind === 'tcp' &&
    replication.sourceHost === address.host &&
    replication.sourcePort === address.port
  );
}

function needsCopy({ backend }: ServerControl, why: string): string {
  return `${why}; ${backend.name} is left as it is and needs a fresh copy of the data`;
}
