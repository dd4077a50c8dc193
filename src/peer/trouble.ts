/** Why the other dbproxy has not answered, in words. */
import { classifyError } from '../monitor/observation.ts';

/** For people; without the question, and without numbers that change each time. */
export function troubleWords(error: unknown): string {
  const { kind, message } = classifyError(error);
  switch (kind) {
    case 'timed_out':
      return 'no answer in time';
    case 'refused':
      return `connection refused (${message})`;
    case 'host_unreachable':
      return `host unreachable (${message})`;
    case 'checker_broken':
    case 'access_denied':
    case 'too_many_connections':
    case 'protocol':
    case 'other':
      return message;
  }
}
