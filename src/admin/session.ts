/**
 * One connection to the admin port: login, then commands one after the other until the client leaves.
 * While a command runs nothing more is read, so what a client can make us hold is one packet and what
 * the kernel has buffered. Whatever it sends, the answer is an ERR packet or the end of the connection.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Clock, Timer } from '../base/clock.ts';
import { isRefusal, refusal } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { Capability, Collation, Command } from '../protocol/constants.ts';
import { PacketFramer } from '../protocol/framer.ts';
import { ServerLogin, type AcceptedLogin } from '../protocol/login-server.ts';
import { toErrorPacket, writeError, writeOk, writeResultSet } from '../protocol/packets.ts';
import { PacketWriter } from '../protocol/writer.ts';
import type { TlsServer } from '../transport/tls-stream.ts';
import { linesOf, withHint } from './complaint.ts';
import { adminServerVersion, execute, type Answer, type Complaint, type ExecuteContext } from './execute.ts';
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
  /** That of the other dbproxy of a pair, which can say PEER and nothing else; null: there is none. */
  peer: { user: string; password: string } | null;
  /** What is shown to a client that asks for TLS; null: there is none. */
  tls: TlsServer | null;
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
  /** The connection; from its request for TLS on, what is encrypted on it. */
  #socket: Socket;
  #chunks: AsyncIterator<Buffer>;
  /** It has asked for TLS and is not there yet: nothing can be said to it. */
  #handshakes = false;
  #deadline: Timer | undefined;
  #user = '';
  #capabilities = 0;
  #database = '';
  /** How the statement before was refused, for SHOW WARNINGS; null: it was not. */
  #complaint: Complaint | null = null;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#socket = options.socket;
    this.#chunks = options.socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  async run(): Promise<void> {
    try {
      this.#within(LOGIN_TIMEOUT_MS, refusal('DBPROXY_HANDSHAKE_TIMEOUT', LOGIN_TIMEOUT_MS));
      const login = await this.#login();
      if (login === undefined) return;
      this.#capabilities = login.capabilities;
      this.#database = login.database;
      this.#user = login.user;
      await this.#commands();
    } finally {
      this.#deadline?.cancel();
    }
  }

  async #login(): Promise<AcceptedLogin | undefined> {
    const { account, peer, clientAddress, connectionId, context, log } = this.#options;
    const login = new ServerLogin({
      connectionId,
      serverVersion: adminServerVersion(context.version),
      capabilities: OFFERED | (this.#options.tls === null ? 0 : Capability.SSL),
      collation: Collation.UTF8MB4_GENERAL_CI,
      clientAddress: () => clientAddress,
      findSecret: (user) => {
        const found = [account, peer].find((one) => one?.user === user);
        return found === undefined || found === null ? undefined : { password: found.password };
      },
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
          await this.#encrypt(this.#options.tls!);
          login.secured();
          break;
        case 'unproven':
          throw new Error('unproven at a login that offers no second look');
      }
    }
  }

  /** Answers the client's request for TLS: what comes behind it is the beginning of a handshake. */
  async #encrypt(server: TlsServer): Promise<void> {
    const { socket } = this.#options;
    const rest = this.#framer.takeRest();
    if (rest.length > 0) socket.unshift(Buffer.from(rest));
    const secured = new TLSSocket(socket, { isServer: true, secureContext: server.context });
    // Before the handshake is done a server's TLSSocket tells errors by this event alone.
    secured.on('_tlsError', (error: Error) => secured.destroy(error));
    this.#socket = secured;
    this.#handshakes = true;
    await new Promise<void>((resolve, reject) => {
      secured.once('secure', resolve);
      // Who reads and who writes is told of it too; without a listener it would end the process.
      secured.on('error', reject);
      secured.once('close', () => reject(new Error('the connection was lost in the TLS handshake')));
    });
    this.#handshakes = false;
    this.#chunks = secured[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
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
      const refused = toErrorPacket(error);
      this.#complaint = { errno: refused.errno, lines: linesOf(refused.message) };
      return { bytes: writeError(1, { ...refused, message: withHint(refused.message) }) };
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
    const { clientAddress, connectionId, context, log } = this.#options;
    const complaint = this.#complaint;
    this.#complaint = null;
    const statement = parseStatement(text);
    this.#requireRight(statement);
    // Who asks after the statement before may do so again.
    if (statement.kind === 'show' && statement.table === 'warnings') this.#complaint = complaint;
    if (acts(statement)) log.info('admin.statement', { user: this.#user, statement: text.slice(0, 1024) });
    return execute(statement, {
      ...context,
      connectionId,
      account: `${this.#user}@${clientAddress}`,
      database: this.#database,
      complaint,
    });
  }

  /** What the two of a pair say to each other is for nobody else, and all that they may say. */
  #requireRight({ kind }: Statement): void {
    if (kind === 'nothing' || (kind === 'peer') === (this.#user === this.#options.peer?.user)) return;
    throw refusal('DBPROXY_ADMIN_NOT_ALLOWED', this.#user, kind === 'peer' ? 'PEER' : 'anything but PEER');
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
    const { clock } = this.#options;
    const socket = this.#socket;
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
    const { clock, log } = this.#options;
    this.#deadline?.cancel();
    this.#deadline = clock.after(timeoutMs, () => {
      const socket = this.#socket;
      log.warn('admin.timeout', { error: error.message });
      if (this.#handshakes) return void socket.destroy();
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
    case 'add-backend':
    case 'drop-backend':
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
    case 'peer-gone':
    case 'shutdown':
      return true;
    case 'peer':
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
