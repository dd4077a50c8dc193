/**
 * What a family of steps is: something applications do, drawn anew each time. A family answers one action
 * or several that belong together; steps of other sessions may come between them.
 */
import type { Draw } from '../draw.ts';
import type { Action } from '../scenario.ts';
import type { SessionModel } from '../world.ts';

export interface Place {
  readonly draw: Draw;
  /** The session that will act. */
  readonly me: SessionModel;
}

export interface Family {
  readonly name: string;
  /** How often it is drawn, against the others. */
  readonly weight: number;
  make(place: Place): Action[];
}

export type Template = (place: Place) => string;

export function query(sql: string): Action {
  return { do: 'query', sql };
}

/** A family of single statements, one of a list. */
export function statements(name: string, weight: number, templates: readonly Template[]): Family {
  return { name, weight, make: (place) => [query(place.draw.pick(templates)(place))] };
}

/** A family of several statements one after the other, one list of many. */
export function sequences(
  name: string,
  weight: number,
  templates: readonly ((place: Place) => string[])[],
): Family {
  return { name, weight, make: (place) => place.draw.pick(templates)(place).map(query) };
}
