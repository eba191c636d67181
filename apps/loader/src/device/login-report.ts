import { DomainError } from '@azaion/kernel';

/** How the device's logins are spoken of. */
export interface LoginReportOptions {
  readonly serial: string;
  /** Where it logs in, as it stands in a sentence; nothing for the Admin API. */
  readonly where?: string;
  /** When a login that failed is tried again, likewise. */
  readonly retried: string;
  readonly log: { log(message: string): void; warn(message: string): void };
}

/** Says of the device's logins what is new, and nothing when the next one ends as the one before. */
export class LoginReport {
  private said: string | undefined;

  constructor(private readonly options: LoginReportOptions) {}

  succeeded(): void {
    const { serial, where = '', log } = this.options;
    if (this.said !== '') log.log(`The device ${serial} is logged in${where}.`);
    this.said = '';
  }

  failed(error: unknown): void {
    const { serial, where = '', retried, log } = this.options;
    const [code, message] =
      error instanceof DomainError ? [String(error.code), error.message] : ['unknown', 'unexpected error'];
    if (this.said !== code)
      log.warn(`The device ${serial} cannot log in${where} (${code}): ${message} It is tried again ${retried}.`);
    this.said = code;
  }
}
