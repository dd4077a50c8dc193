/**
 * The host, as notify sees it and acts on it: by `ip`, `arping` and `systemctl`, each within a time.
 */
import { execFile, spawn } from 'node:child_process';
import net, { isIPv4 } from 'node:net';
import { hostname } from 'node:os';
import { ownAddresses } from '../base/own-addresses.ts';
import type { Clock } from '../base/clock.ts';
import type { CheckConfig } from '../config/for-check.ts';
import { proxySight } from './check.ts';
import type { NotifyWorld } from './notify.ts';

const PROGRAM_TIMEOUT_MS = 3_000;
const CONNECT_TIMEOUT_MS = 500;
const ALREADY_THERE = /File exists/;
const UNIT = 'dbproxy.service';

/** The real world of `notify`. */
export function hostWorld(config: CheckConfig, clock: Clock, overtakenBy: () => string | null): NotifyWorld {
  return {
    clock,
    overtakenBy,
    addresses: ownAddresses,
    async addAddress(vip, device) {
      const { failure } = await run('ip', ['address', 'add', vip, 'dev', device]);
      return failure === null || ALREADY_THERE.test(failure) ? null : failure;
    },
    async removeAddress(vip, device) {
      return (await run('ip', ['address', 'del', vip, 'dev', device])).failure;
    },
    async ownerElsewhere(address, device) {
      if (!isIPv4(address)) return null;
      const { code, output } = await run('arping', ['-D', '-c', '1', '-w', '1', '-I', device, address]);
      return code === 1 ? (/\[([0-9A-F:]+)\]/i.exec(output)?.[1] ?? 'another host') : null;
    },
    async announce(address, device) {
      if (isIPv4(address)) await run('arping', ['-U', '-c', '1', '-w', '1', '-I', device, address]);
    },
    async proxySilence() {
      const sight = await proxySight(config, clock);
      return 'silent' in sight ? sight.silent : null;
    },
    async startProxy() {
      if ((await run('systemctl', ['cat', UNIT])).failure !== null)
        return 'there is no unit dbproxy to start';
      const { failure } = await run('systemctl', ['start', '--no-block', UNIT]);
      return failure === null ? `systemd was told to start ${UNIT}` : `systemctl start ${UNIT}: ${failure}`;
    },
    isListening: (address, port) =>
      new Promise((resolve) => {
        const socket = net.connect({ host: address, port });
        const end = (isThere: boolean): void => {
          timer.cancel();
          socket.destroy();
          resolve(isThere);
        };
        const timer = clock.after(CONNECT_TIMEOUT_MS, () => end(false));
        socket.once('connect', () => end(true));
        socket.once('error', () => end(false));
      }),
  };
}

/** Runs the operator's command with the change in its environment; answers what went wrong, if anything did. */
export function runNotifyCommand(
  command: string,
  change: { readonly state: string; readonly vips: readonly string[]; readonly words: string },
  clock: Clock,
  timeoutMs: number,
): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn('/bin/sh', ['-c', command], {
      stdio: ['ignore', 'ignore', 'inherit'],
      detached: true,
      env: {
        ...process.env,
        DBPROXY_STATE: change.state,
        DBPROXY_VIP: change.vips.join(','),
        DBPROXY_HOST: hostname(),
        DBPROXY_MESSAGE: change.words,
      },
    });
    const timer = clock.after(timeoutMs, () => {
      // With all that it has started.
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      resolve(`notify_command was ended: it took longer than ${timeoutMs} ms`);
    });
    child.once('error', (error) => resolve(`notify_command: ${error.message}`));
    child.once('close', (code, signal) => {
      timer.cancel();
      resolve(code === 0 ? null : `notify_command ended with ${signal ?? `exit code ${code}`}`);
    });
  });
}

function run(
  program: string,
  args: readonly string[],
): Promise<{ code: number | null; output: string; failure: string | null }> {
  return new Promise((resolve) => {
    execFile(
      program,
      args,
      { timeout: PROGRAM_TIMEOUT_MS, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => {
        if (error === null) return resolve({ code: 0, output: stdout, failure: null });
        const code = typeof error.code === 'number' ? error.code : null;
        const failure = stderr.trim().replaceAll('\n', '; ') || error.message;
        resolve({ code, output: stdout, failure });
      },
    );
  });
}
