import { type CommandContext, serviceUrl } from '../command-context.js';
import { failure } from '../failure-table.js';
import { call, type ServiceCall } from '../http.js';

/** One JSON object of an answer; for people to read, never for a decision about trust. */
export type Facts = Readonly<Record<string, unknown>>;

/** What an administrator asks of the Admin API about devices and groups. */
export class FleetApi {
  private constructor(
    /** Base URL of the Admin API. */
    readonly url: string,
    private readonly context: CommandContext,
  ) {}

  /** @param option - `--api`. @throws CliFailure exit `usage` where no address is known. */
  static async open(context: CommandContext, option: string | undefined): Promise<FleetApi> {
    return new FleetApi(await serviceUrl(context, 'api', option), context);
  }

  /** A call without an answer's content. */
  async send(method: ServiceCall['method'], parts: readonly string[], body?: unknown): Promise<void> {
    await (await this.request(method, parts, { body })).body?.cancel();
  }

  /** A call that is answered with an object; its `ETag` beside it. */
  async ask(
    method: ServiceCall['method'],
    parts: readonly string[],
    options: {
      readonly body?: unknown;
      readonly headers?: Readonly<Record<string, string>>;
      readonly query?: string;
    } = {},
  ): Promise<{ readonly facts: Facts; readonly etag: string | undefined }> {
    const response = await this.request(method, parts, options);
    const facts: unknown = await response.json().catch(() => undefined);
    if (typeof facts !== 'object' || facts === null || Array.isArray(facts))
      throw failure('internal', 'service.unexpected', `${this.url} answered outside its contract.`);
    return { facts: facts as Facts, etag: response.headers.get('etag') ?? undefined };
  }

  /** A whole list, page by page. */
  async list(path: string, member: string, filters: Readonly<Record<string, string | undefined>>): Promise<Facts[]> {
    const entries: Facts[] = [];
    const query = new URLSearchParams({ limit: '200' });
    for (const [name, value] of Object.entries(filters)) if (value !== undefined) query.set(name, value);
    for (;;) {
      const { facts } = await this.ask('GET', [path], { query: `?${query.toString()}` });
      const page = facts[member];
      if (Array.isArray(page)) entries.push(...(page as Facts[]));
      const { cursor } = facts;
      if (typeof cursor !== 'string' || cursor === query.get('cursor')) return entries;
      query.set('cursor', cursor);
    }
  }

  /** The call itself; the caller reads or cancels the body. @throws CliFailure for every answer but a 2xx. */
  async request(
    method: ServiceCall['method'],
    parts: readonly string[],
    { body, headers, query = '' }: { body?: unknown; headers?: Readonly<Record<string, string>>; query?: string } = {},
  ): Promise<Response> {
    return call({
      method,
      url: `${this.url}/${parts.map((part) => encodeURIComponent(part)).join('/')}${query}`,
      body,
      token: await this.context.session.token(),
      signal: this.context.signal,
      ...(headers === undefined ? {} : { headers }),
    });
  }
}

/** A member as text; `-` where there is none. */
export function shown(value: unknown): string {
  return typeof value === 'string' && value !== '' ? value : typeof value === 'number' ? String(value) : '-';
}

/** Rows under a heading, in columns. */
export function columns(heading: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [heading, ...rows];
  const widths = heading.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
