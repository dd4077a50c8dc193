/** The addresses of a host, in the test's hands. */
import type { AddressFacts } from '../../src/base/host-addresses.ts';

export class FakeHost implements AddressFacts {
  /** Of its interfaces. */
  readonly addresses = new Set<string>();
  /** Local all the same, as by a route, or on an interface without carrier. */
  readonly bindable = new Set<string>();
  /** The kernel does not say. */
  isSilent = false;

  list(): Iterable<string> {
    if (this.isSilent) throw new Error('EMFILE');
    return this.addresses;
  }

  canBind(host: string): Promise<boolean> {
    return Promise.resolve(this.bindable.has(host));
  }
}
