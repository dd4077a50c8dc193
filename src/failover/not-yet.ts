/** Rejects a chore whose time has not come: that is the normal course, and it is tried again. */
export class NotYet extends Error {}
