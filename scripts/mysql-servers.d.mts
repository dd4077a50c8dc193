/** What the tests use of mysql-servers.mjs, which is plain JavaScript because it runs before TypeScript can. */
export type LabFlavour = 'mariadb' | 'mysql97' | 'mysql56';

export function testFlavours(): LabFlavour[];
export function serverFolder(name: 'mysql97' | 'mysql56'): string;
export function mysql97Command(program: string, folder?: string): [program: string, ...args: string[]];
export function mysql56Command(folder?: string): [program: string, ...args: string[]];
