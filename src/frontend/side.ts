/** home: where everything may go; the primary, on a read endpoint a replica. */
export type Side = 'home' | 'replica';
