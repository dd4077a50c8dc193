/**
 * The clients: those of dbproxy give their statements to its workers, another one goes past it and writes where it
 * can. Each sends one statement after the other, each with a number of its own, and never the same again.
 */
import type { Random } from './random.ts';
import type { SimServer } from './server.ts';
import type { Outcome, Statement } from './workers.ts';
import type { World } from './world.ts';

/** A client that goes past dbproxy waits no longer for an answer. */
const DIRECT_PATIENCE_MS = 3_000;

/** A client of dbproxy. */
export function startClient(world: World, random: Random): void {
  const turn = (): void => {
    const worker = world.proxyForClient(random)?.worker(random) ?? null;
    const waitMs = world.areFaultsOver ? random.between(300, 900) : random.between(20, 400);
    const again = (): void => void world.scheduler.after(waitMs, turn);
    if (worker === null || !worker.process.isAlive) return again();
    let isOpen = true;
    const statement: Statement = {
      number: world.nextId(),
      heldSinceMs: null,
      end: (outcome) => {
        if (!isOpen) return;
        isOpen = false;
        world.outcomes[outcome]++;
        world.note(() => `client: statement ${statement.number} is ${outcome}`);
        if (outcome === 'acknowledged') world.ledger.acknowledgedByProxy(statement.number);
        again();
      },
    };
    worker.take(statement);
  };
  world.scheduler.after(random.between(300, 700), turn);
}

/** One that goes past dbproxy. */
export function startDirectClient(world: World, random: Random): void {
  let server = world.servers[0]!;
  const turn = (): void => {
    const number = world.nextId();
    let isOpen = true;
    const end = (outcome: Outcome): void => {
      if (!isOpen) return;
      isOpen = false;
      world.note(() => `direct client: statement ${number} on ${server.name} is ${outcome}`);
      if (outcome === 'acknowledged') world.ledger.acknowledgedBy(server, number);
      else server = random.pick(world.servers);
      world.scheduler.after(random.between(200, 900), turn);
    };
    executeWrite(world, random, server, 'client', number, end);
    world.scheduler.after(DIRECT_PATIENCE_MS, () => end('unknown'));
  };
  world.scheduler.after(random.between(300, 900), turn);
}

/** A statement that is sent to a server: what comes of it there, and what its sender hears of that. */
export function executeWrite(
  world: World,
  random: Random,
  server: SimServer,
  from: string,
  statement: number,
  tell: (outcome: Outcome) => void,
): void {
  const back = (outcome: Outcome): void => world.network.send(server.host, from, () => tell(outcome));
  const before = server.process.isAlive ? server.process : null;
  world.network.send(from, server.host, () => {
    if (server.hostDownSinceMs !== null) return;
    const { process } = server;
    if (!process.isAlive) return back('refused');
    // Its connection died with the process that it was opened to.
    if (before !== null && process !== before) return back('unknown');
    let isOpen = true;
    const session = {
      end: () => {
        if (isOpen && server.hostDownSinceMs === null) back('unknown');
        isOpen = false;
      },
    };
    server.sessions.add(session);
    const answer = (outcome: Outcome): void => {
      if (isOpen) back(outcome);
      isOpen = false;
      server.sessions.delete(session);
    };
    const durationMs = random.chance(0.05) ? random.between(50, 800) : random.between(0.1, 4);
    process.enter(() =>
      world.scheduler.after(durationMs, () =>
        process.enter(() => {
          if (!isOpen) return;
          if (server.readOnly) return answer('refused');
          const waits = server.primarySide.enabled && server.primarySide.live;
          const txn = server.write('client', statement, null, (isAcknowledged) => {
            if (isAcknowledged) answer('acknowledged');
          });
          world.ledger.committed(server, statement, txn, waits);
        }),
      ),
    );
  });
}
