declare module 'pino-roll' {
  import type { DestinationStream } from 'pino';

  /** Opens a log file that is followed by a new one each day. @throws Error of the file system. */
  export default function roll(options: {
    readonly file: string;
    readonly frequency: 'daily';
    readonly dateFormat: string;
    readonly sync: boolean;
    readonly limit: { readonly count: number; readonly removeOtherLogFiles: boolean };
  }): Promise<DestinationStream & { end(): void }>;
}
