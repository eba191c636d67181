import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

import type { DestinationStream } from 'pino';

/** Where a service's log goes. */
export interface LogPlaces {
  /** Name of its files. */
  readonly name: string;
  /** Where standard output is looked at by a person: then it gets readable text instead of JSON lines. */
  readonly terminal: boolean;
  /** Directory for files, one a day, kept for {@link KEPT_DAYS} days; none unless given. */
  readonly directory?: string | undefined;
}

/** How long a log file is kept. */
export const KEPT_DAYS = 30;
const DAY_MS = 86_400_000;

/** An open log. */
export interface OpenLog extends DestinationStream {
  /** Ends its files; what was logged has been written before. */
  close(): void;
}

/**
 * Opens the places that a log is written to. Files are JSON lines whatever the terminal shows.
 *
 * @param nowMs - Since 1970: what is older than {@link KEPT_DAYS} days is deleted. Also here and not only at midnight, because devices are
 *   switched off over night.
 * @throws Error of the file system when the directory cannot be written.
 */
export async function openLog(places: LogPlaces, nowMs: number): Promise<OpenLog> {
  const output = places.terminal ? await readable() : process.stdout;
  if (places.directory === undefined) return { write: (line) => output.write(line), close: () => undefined };
  await mkdir(places.directory, { recursive: true, mode: 0o750 });
  await deleteOld(places.directory, places.name, nowMs);
  // Loaded when it is needed: a service that logs to standard output alone starts without it.
  const { default: roll } = await import('pino-roll');
  const file = await roll({
    file: join(places.directory, places.name),
    frequency: 'daily',
    dateFormat: 'yyyy-MM-dd',
    sync: true,
    limit: { count: KEPT_DAYS, removeOtherLogFiles: true },
  });
  return {
    write: (line) => {
      output.write(line);
      file.write(line);
    },
    close: () => file.end(),
  };
}

async function deleteOld(directory: string, name: string, nowMs: number): Promise<void> {
  const own = new RegExp(`^${name}\\.(\\d{4}-\\d{2}-\\d{2})\\.\\d+\\.log$`);
  for (const file of await readdir(directory)) {
    const day = Date.parse(own.exec(file)?.[1] ?? '');
    if (nowMs - day > (KEPT_DAYS + 1) * DAY_MS) await rm(join(directory, file), { force: true });
  }
}

async function readable(): Promise<DestinationStream> {
  const { default: pretty } = await import('pino-pretty');
  return pretty({
    sync: true,
    colorize: true,
    translateTime: 'SYS:HH:MM:ss',
    ignore: 'pid,hostname,context,requestId,traceId,method,path,status,code,durationMs',
    messageFormat: (entry, key) => readableMessage(entry, String(entry[key])),
  });
}

/** A line for people: who says it, what, and for an answered request how it went. */
function readableMessage(entry: Readonly<Record<string, unknown>>, message: string): string {
  const { context, method, path, status, code, durationMs } = entry;
  if (typeof method === 'string' && typeof path === 'string') {
    const why = typeof code === 'string' ? ` ${code}` : '';
    const how = message === 'request answered' ? '' : `, ${message}`;
    return `${method} ${path} → ${String(status)}${why} in ${String(durationMs)} ms${how}`;
  }
  return typeof context === 'string' ? `${context}: ${message}` : message;
}
