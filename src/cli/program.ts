/**
 * Every command of the program, done: what `cli.ts` has read from the command line, until there is an exit code.
 *
 * Parts that a command does not need are not loaded: a worker has no supervisor in it, and the other
 * way round.
 */
import cluster from 'node:cluster';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { formatEndpoint } from '../base/address.ts';
import { stayAliveFor, systemClock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import { messageOf } from '../base/message-of.ts';
import { ownAddresses } from '../base/own-addresses.ts';
import { PROGRAM_VERSION } from '../base/version.ts';
import type { ProxyConfig } from '../config/config.ts';
import type { OrdersSight } from '../setup/host-rules.ts';
import type { PeerSight } from '../topology/peer-sight.ts';
import type { Command } from './arguments.ts';
import { EXIT } from './exit-codes.ts';
import { CONFIG_PLACES, findConfig } from './find-config.ts';
import { complain, print } from './output.ts';
import { listenForStop, type StopSignals } from './stop-signals.ts';

/** What `cli.ts` does not do itself. */
type LongCommand = Exclude<Command, { name: 'keepalived-check' }>;

const DEMO_DIRECTORY = '.demo';

/** Does what a command asks; answers the exit code. Rejects with what `explain` tells. */
export async function perform(command: LongCommand): Promise<number> {
  switch (command.name) {
    case 'run':
      return runProxy(await readConfig(await findConfig(command.config)));
    case 'start':
      return wantsDemo(command.config)
        ? runDemo()
        : runProxy(await readConfig(await findConfig(command.config)));
    case 'demo':
      return runDemo();
    case 'check-config':
      return checkConfig(await findConfig(command.config));
    case 'doctor':
      return doctor(command);
    case 'init':
      return init(command);
    case 'admin':
      return admin(command);
    case 'keepalived-notify':
      return keepalivedNotify(await findConfig(command.config), command);
    case 'keepalived-config':
      return keepalivedConfig(await findConfig(command.config), command.host);
    case 'version':
      print(`dbproxy ${PROGRAM_VERSION}`);
      return EXIT.well;
    case 'help':
      print(command.text);
      return EXIT.well;
    case 'unavailable':
      throw refusal('DBPROXY_NOT_AVAILABLE', command.what);
    case 'worker':
      if (cluster.isWorker) return work();
      complain('a worker is started by its supervisor only');
      return EXIT.usage;
    case 'usage':
      complain(`${command.complaint}; see dbproxy --help`);
      return EXIT.usage;
  }
}

/** A worker ends when the supervisor says so or is gone; a terminal's Ctrl-C is for the supervisor. */
async function work(): Promise<number> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
  const { runWorker } = await import('../worker.ts');
  return runWorker();
}

/** Runs the proxy until a signal or SHUTDOWN ends it. `onReady` is called once it serves. */
async function runProxy(
  config: ProxyConfig,
  stopSignals: StopSignals = listenForStop(systemClock),
  onReady: () => void = () => undefined,
): Promise<number> {
  const { startSupervisor } = await import('../supervisor.ts');
  const { openLog } = await import('../base/log.ts');
  const { serviceManagerOf } = await import('../base/service-manager.ts');
  const log = openLog({ level: config.dbproxy.logLevel, format: config.dbproxy.logFormat });
  const serviceManager = serviceManagerOf(process.env, systemClock, (reason) => {
    log.error('service_manager.not_told', { reason });
  });
  const ended = Promise.withResolvers<number>();
  const starting = startSupervisor({
    config,
    log,
    clock: systemClock,
    version: PROGRAM_VERSION,
    serviceManager,
    onExit: ended.resolve,
  });
  ended.promise.catch(() => undefined); // when the start fails, that is what is told
  // A signal may come while it still starts; then it stops as soon as it has started.
  stopSignals.handleWith((now) => {
    starting.then((supervisor) => supervisor.stop(now)).then(() => ended.resolve(EXIT.well), ended.reject);
  });
  await starting;
  if (!stopSignals.received) onReady();
  return ended.promise;
}

/** `npm start` of a newcomer; scripts/prepare.mjs decides by the same rule what to install. */
function wantsDemo(given: string | undefined): boolean {
  return given === undefined && !existsSync(CONFIG_PLACES[0]);
}

async function runDemo(): Promise<number> {
  const stopSignals = listenForStop(systemClock);
  const { startDemo } = await import('../demo/demo.ts');
  const say = (line: string): void => print(`demo: ${line}`);
  const demo = await startDemo({ directory: DEMO_DIRECTORY, clock: systemClock, say });
  try {
    if (stopSignals.received) return EXIT.well;
    return await runProxy(await readConfig(demo.configPath), stopSignals, () => print(demo.banner));
  } finally {
    say('stopping the servers');
    await demo.stop();
  }
}

async function checkConfig(path: string): Promise<number> {
  await readConfig(path);
  print(`${path} is good`);
  return EXIT.well;
}

/** Looks at the servers, this host, and the dbproxy that runs on it, which is not needed. */
async function doctor({ config: given, batch, vip }: Command & { name: 'doctor' }): Promise<number> {
  const configPath = await findConfig(given);
  const config = await readConfig(configPath);
  const { examine, isWell } = await import('../setup/doctor.ts');
  const { lookAtRunning } = await import('./look-at-running.ts');
  const { findingsForPeople, findingsForScripts } = await import('./findings-text.ts');
  const keepalivedText = await keepalivedMaker(configPath, config, undefined);
  const orders = (): Promise<OrdersSight | null> => ordersOf(config);
  const { lookAtPeer } = await import('../peer/look.ts');
  const peer = (): Promise<PeerSight | null> => lookAtPeer(config, systemClock);
  const version = PROGRAM_VERSION;
  const running = lookAtRunning(config.admin);
  const looks = { keepalivedText, orders, peer, running: () => running };
  const questions = { configPath, version, probesVips: vip, ...looks };
  const findings = await examine(config, questions, systemClock);
  if (batch) {
    print(findingsForScripts(findings));
  } else {
    const state = (await running).kind === 'runs' ? 'runs' : 'does not run';
    print(`dbproxy ${state} here (admin port ${formatEndpoint(config.admin.address)})`);
    print(findingsForPeople(findings));
  }
  return isWell(findings) ? EXIT.well : EXIT.notWell;
}

async function init(command: Command & { name: 'init' }): Promise<number> {
  const { initPair } = await import('./init.ts');
  const { outcome, text } = initPair(command, systemClock);
  if (outcome === 'done') print(text);
  else complain(text);
  return outcome === 'done' ? EXIT.well : EXIT.notWell;
}

async function admin(command: Command & { name: 'admin' }): Promise<number> {
  const { loadConfigOfRunning } = await import('../config/load.ts');
  const { admin: door } = loadConfigOfRunning(existing(await findConfig(command.config)), process.env);
  const { callAdmin } = await import('./admin-client.ts');
  const { statement, batch } = command;
  const answer = await callAdmin({ ...door, statement, batch });
  switch (answer.outcome) {
    case 'done':
      if (answer.text !== '') print(answer.text);
      return EXIT.well;
    case 'refused':
      complain(answer.text);
      return EXIT.notWell;
    case 'unreachable':
      complain(answer.text);
      return EXIT.missing;
  }
}

async function keepalivedNotify(
  path: string,
  command: Command & { name: 'keepalived-notify' },
): Promise<number> {
  const { loadConfigOfRunning } = await import('../config/load.ts');
  const { loadCheckConfig } = await import('../config/for-check.ts');
  const { runNotify } = await import('../keepalived/run-notify.ts');
  const call = {
    config: loadConfigOfRunning(existing(path), process.env),
    check: loadCheckConfig(path, process.env),
    clock: systemClock,
    state: command.state,
    vips: command.vips,
  };
  const { isWell, words } = await stayAliveFor(runNotify(call));
  print(words);
  return isWell ? EXIT.well : EXIT.notWell;
}

async function keepalivedConfig(path: string, given: 1 | 2 | undefined): Promise<number> {
  const makeText = await keepalivedMaker(path, await readConfig(path), given);
  process.stdout.write(await makeText());
  return EXIT.well;
}

/** What makes keepalived.conf for this host, or refuses that with the reason. */
async function keepalivedMaker(
  configPath: string,
  config: ProxyConfig,
  given: 1 | 2 | undefined,
): Promise<() => Promise<string>> {
  const { keepalivedText, whichHost } = await import('../keepalived/config-text.ts');
  const own = ownAddresses();
  return async () => {
    if (config.keepalived.haconf !== undefined) await sameInstance(configPath, config);
    return keepalivedText({
      config,
      configPath,
      program: [process.execPath, process.argv[1]!],
      hostname: hostname(),
      host: whichHost(given, config.keepalived.hosts, own),
    });
  };
}

/** For the doctor: what haconf orders, or why it cannot be read. */
async function ordersOf({
  keepalived: { haconf: path, vip, instance },
}: ProxyConfig): Promise<OrdersSight | null> {
  if (path === undefined) return null;
  const { readHaconf } = await import('../keepalived/haconf-watch.ts');
  const { parseHaconf } = await import('../keepalived/haconf.ts');
  try {
    const reading = parseHaconf(await readHaconf(path), vip.length === 0 ? null : instance);
    return 'problem' in reading ? { path, problem: reading.problem } : { path, ...reading.haconf };
  } catch (error) {
    return { path, problem: messageOf(error) };
  }
}

/** The name in haconf is for people and scripts; another one than keepalived's would mislead them. */
async function sameInstance(path: string, { keepalived }: ProxyConfig): Promise<void> {
  const { readHaconf } = await import('../keepalived/haconf-watch.ts');
  const { parseHaconf } = await import('../keepalived/haconf.ts');
  const reading = await readHaconf(keepalived.haconf!).then(
    (text) => parseHaconf(text, null),
    () => null,
  );
  if (reading === null || 'problem' in reading) return;
  const { instance } = reading.haconf;
  if (instance === null || instance === keepalived.instance) return;
  const text = `column 8 of haconf has ${instance}; write instance = ${instance}, or that name there`;
  throw refusal(
    'DBPROXY_CONFIG',
    `${path}: [keepalived] instance: it is ${keepalived.instance}, but ${text}`,
  );
}

async function readConfig(path: string): Promise<ProxyConfig> {
  const { loadConfig } = await import('../config/load.ts');
  return loadConfig(existing(path), process.env);
}

function existing(path: string): string {
  if (!existsSync(path)) throw refusal('DBPROXY_CONFIG', `${path}: there is no such file`);
  return path;
}
