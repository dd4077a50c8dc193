/**
 * The log: events with fields, not prose. Every line has an `event` name in the form `area.what`
 * (for example `session.login_refused`, `promote.fence`), so that scripts can rely on it.
 */
import { pino, type BaseLogger } from 'pino';

/** Fields of one event; values are what JSON can hold. */
export type LogFields = Record<string, unknown>;

/** Where events go. */
export interface Log {
  /** Fields as a function where they are told often: it is called only when somebody reads them. */
  debug(event: string, fields?: LogFields | (() => LogFields)): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A log that adds `fields` to each of its events. */
  child(fields: LogFields): Log;
}

/** Levels of `log_level`. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Opens the log of this process on standard output. */
export function openLog(options: { level: LogLevel; format: 'json' | 'pretty'; base?: LogFields }): Log {
  const settings = {
    level: options.level,
    base: options.base ?? {},
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const logger =
    options.format === 'pretty'
      ? pino({
          ...settings,
          transport: { target: 'pino-pretty', options: { ignore: 'pid,hostname', messageKey: 'event' } },
        })
      : pino(settings, pino.destination({ dest: 1, sync: true }));
  return wrap(logger);
}

/** A log that drops everything; for tests of parts that must have one. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

/** The part of pino's logger that we use. */
type PinoLogger = Pick<BaseLogger, 'debug' | 'info' | 'warn' | 'error'> & {
  child(fields: LogFields): PinoLogger;
  isLevelEnabled(level: LogLevel): boolean;
};

function wrap(logger: PinoLogger): Log {
  return {
    debug: (event, fields) => {
      if (!logger.isLevelEnabled('debug')) return;
      logger.debug({ event, ...(typeof fields === 'function' ? fields() : fields) });
    },
    info: (event, fields) => logger.info({ event, ...fields }),
    warn: (event, fields) => logger.warn({ event, ...fields }),
    error: (event, fields) => logger.error({ event, ...fields }),
    child: (fields) => wrap(logger.child(fields)),
  };
}
