/**
 * One connection to the admin port: login, then commands one after the other until the client leaves.
 * While a command runs nothing more is read, so what a client can make us hold is one packet and what
 * the kernel has buffered. Whatever it sends, the answer is an ERR packet or the end of the connection.
 */
import type { Socket } from 'node:net';
import type { Clock, Timer } from '../base/clock.ts';
import { isRefusal, refusal } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { Capability, Collation, Command } from '../protocol/constants.ts';
import { PacketFramer } from '../protocol/framer.ts';
import { ServerLogin, type AcceptedLogin } from '../protocol/login-server.ts';
import { toErrorPacket, writeError, writeOk, writeResultSet } from '../protocol/packets.ts';
import { PacketWriter } from '../protocol/writer.ts';
import { adminServerVersion, execute, type Answer, type ExecuteContext } from './execute.ts';
import { parseStatement } from './parse.ts';
import type { Statement } from './statement.ts';

/** Limits of one connection; not configurable, as nobody has a reason to change them. */
const LOGIN_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 8 * 3_600_000;
const WRITE_TIMEOUT_MS = 60_000;
const MAX_PACKET_BYTES = 1024 * 1024;

const OFFERED =
  Capability.LONG_PASSWORD |
  Capability.FOUND_ROWS |
  Capability.LONG_FLAG |
  Capability.CONNECT_WITH_DB |
  Capability.IGNORE_SPACE |
  Capability.PROTOCOL_41 |
  Capability.INTERACTIVE |
  Capability.TRANSACTIONS |
  Capability.SECURE_CONNECTION |
  Capability.MULTI_RESULTS |
  Capability.PLUGIN_AUTH |
  Capability.DEPRECATE_EOF;

/** What a session needs of the server it belongs to. */
export interface SessionOptions {
  socket: Socket;
  connectionId: number;
  clientAddress: string;
  account: { user: string; password: string };
  context: Pick<ExecuteContext, 'operations' | 'version' | 'killAdmin'>;
  clock: Clock;
  log: Log;
}

/** COM_STATISTICS is answered by a bare text (page_protocol_com_statistics). */
interface StatisticsText {
  kind: 'text';
  text: string;
}

interface Packet {
  payload: Buffer;
  sequence: number;
}

/** Serves the connection until it ends; never rejects. */
export async function serveSession(options: SessionOptions): Promise<void> {
  const session = new AdminSession(options);
  try {
    await session.run();
  } catch (error) {
    // A socket error is how clients leave; a refusal is bad input.
    if (isRefusal(error)) options.log.warn('admin.bad_packet', { code: error.code, error: error.message });
    else options.log.debug('admin.connection_lost', { error: String(error) });
  } finally {
    options.socket.destroy();
  }
}

class AdminSession {
  readonly #options: SessionOptions;
  readonly #framer = new PacketFramer(MAX_PACKET_BYTES);
  readonly #chunks: AsyncIterator<Buffer>;
  #deadline: Timer | undefined;
  #capabilities = 0;
  #database = '';

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#chunks = options.socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  async run(): Promise<void> {
    try {
      this.#within(LOGIN_TIMEOUT_MS, refusal('DBPROXY_HANDSHAKE_TIMEOUT', LOGIN_TIMEOUT_MS));
      const login = await this.#login();
      if (login === undefined) return;
      this.#capabilities = login.capabilities;
      this.#database = login.database;
      await this.#commands();
    } finally {
      this.#deadline?.cancel();
    }
  }

  async #login(): Promise<AcceptedLogin | undefined> {
    const { account, clientAddress, connectionId, context, log } = this.#options;
    const login = new ServerLogin({
      connectionId,
      serverVersion: adminServerVersion(context.version),
      capabilities: OFFERED,
      collation: Collation.UTF8MB4_GENERAL_CI,
      clientAddress: () => clientAddress,
      findSecret: (user) => (user === account.user ? { password: account.password } : undefined),
    });
    await this.#send(login.greeting());
    for (;;) {
      const packet = await this.#packet(1);
      if (packet === undefined) return undefined;
      const received = login.receive(packet.payload, packet.sequence);
      // There is one account, and it cannot change: nothing is to be read again.
      const step = received.kind === 'unproven' ? login.deny() : received;
      switch (step.kind) {
        case 'send':
          await this.#send(step.bytes);
          break;
        case 'refused':
          log.warn('admin.login_refused', { code: step.error.code, error: step.error.message });
          await this.#send(writeError(step.sequence, toErrorPacket(step.error)));
          return undefined;
        case 'accepted':
          log.debug('admin.login', { user: step.login.user });
          await this.#send(Buffer.concat([step.prelude ?? Buffer.alloc(0), writeOk(step.sequence)]));
          return step.login;
        case 'tls':
        case 'unproven':
          throw new Error(`${step.kind} at a login that offers neither TLS nor a second look`);
      }
    }
  }

  async #commands(): Promise<void> {
    for (;;) {
      this.#within(IDLE_TIMEOUT_MS, refusal('DBPROXY_IDLE_TIMEOUT', IDLE_TIMEOUT_MS));
      const packet = await this.#packet(0);
      this.#deadline?.cancel();
      if (packet === undefined || packet.payload[0] === Command.QUIT) return;
      const { bytes, afterwards } = await this.#answer(packet);
      await this.#send(bytes);
      afterwards?.();
    }
  }

  /** The answer to one command; failures of all kinds are an ERR packet. */
  async #answer(packet: Packet): Promise<{ bytes: Buffer; afterwards?: () => void }> {
    try {
      const answer = await this.#command(packet);
      if (answer.kind === 'table') {
        return { bytes: writeResultSet(answer.table.columns, answer.table.rows, this.#capabilities) };
      }
      if (answer.kind === 'text') {
        return { bytes: new PacketWriter().begin().text(answer.text).end(1).take() };
      }
      const bytes = writeOk(1, { affectedRows: answer.affectedRows, info: answer.info });
      return answer.afterwards === undefined ? { bytes } : { bytes, afterwards: answer.afterwards };
    } catch (error) {
      if (!isRefusal(error)) this.#options.log.error('admin.failed', { error: String(error) });
      return { bytes: writeError(1, toErrorPacket(error)) };
    }
  }

  async #command({ payload, sequence }: Packet): Promise<Answer | StatisticsText> {
    if (sequence !== 0) throw refusal('DBPROXY_PACKET_OUT_OF_ORDER');
    if (payload.length === 0) throw refusal('DBPROXY_MALFORMED_PACKET', 'a command without its first byte');
    const command = payload[0]!;
    const body = payload.subarray(1).toString('utf8');
    const nothing: Answer = { kind: 'ok', affectedRows: 0, info: '' };
    switch (command) {
      case Command.QUERY:
        return this.#statement(body);
      case Command.INIT_DB:
        this.#database = body;
        return nothing;
      case Command.PING:
      case Command.RESET_CONNECTION:
      case Command.SET_OPTION:
        return nothing;
      case Command.STATISTICS:
        return { kind: 'text', text: this.#statistics() };
      case Command.STMT_PREPARE:
        throw refusal('DBPROXY_NOT_AVAILABLE', 'a prepared statement on the admin port (send it as text)');
      default:
        throw refusal('DBPROXY_UNKNOWN_COMMAND');
    }
  }

  async #statement(text: string): Promise<Answer> {
    const { clientAddress, connectionId, context, account, log } = this.#options;
    const statement = parseStatement(text);
    if (acts(statement)) log.info('admin.statement', { user: account.user, statement: text.slice(0, 1024) });
    return execute(statement, {
      ...context,
      connectionId,
      account: `${account.user}@${clientAddress}`,
      database: this.#database,
    });
  }

  #statistics(): string {
    const { operations } = this.#options.context;
    const { version, epoch } = operations.snapshot();
    return `Uptime: ${Math.floor(operations.uptimeMs() / 1000)}  Topology: ${version}  Epoch: ${epoch}`;
  }

  /** The next whole packet; undefined when the client has left. A packet too large is told and thrown. */
  async #packet(errorSequence: number): Promise<Packet | undefined> {
    try {
      let packet = this.#framer.next();
      while (packet === undefined) {
        const chunk = await this.#chunks.next();
        if (chunk.done) return undefined;
        packet = this.#framer.next(chunk.value);
      }
      return packet;
    } catch (error) {
      if (isRefusal(error)) await this.#send(writeError(errorSequence + 1, toErrorPacket(error)));
      throw error;
    }
  }

  /** Resolves when the kernel has taken the bytes; a client that does not read is cut off. */
  async #send(bytes: Buffer): Promise<void> {
    const { socket, clock } = this.#options;
    const patience = clock.after(WRITE_TIMEOUT_MS, () => socket.destroy());
    try {
      await new Promise<void>((resolve, reject) => {
        socket.write(bytes, (error) => (error ? reject(error) : resolve()));
      });
    } finally {
      patience.cancel();
    }
  }

  /** Ends the connection with `error` after `timeoutMs`, unless another deadline is set before. */
  #within(timeoutMs: number, error: Error): void {
    const { clock, socket, log } = this.#options;
    this.#deadline?.cancel();
    this.#deadline = clock.after(timeoutMs, () => {
      log.warn('admin.timeout', { error: error.message });
      socket.end(writeError(1, toErrorPacket(error)));
      // The client may keep its half open for ever; reading ends here.
      socket.destroySoon();
    });
  }
}

/** Statements that change something are logged; looking is not. */
function acts(statement: Statement): boolean {
  switch (statement.kind) {
    case 'set-backend':
    case 'promote':
    case 'change-primary':
    case 'rehearse':
    case 'rejoin':
    case 'maintenance':
    case 'bootstrap':
    case 'clone-backend':
    case 'reload-users':
    case 'reload-tls':
    case 'kill':
    case 'shutdown':
      return true;
    case 'show':
    case 'lost-transactions':
    case 'explain-route':
    case 'explain-session':
    case 'help':
    case 'select':
    case 'nothing':
      return false;
  }
}
