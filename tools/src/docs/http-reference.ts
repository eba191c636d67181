import { withBlock } from './generated-block.js';

/** What the page needs of an OpenAPI document. */
export interface OpenApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, OpenApiOperation>>>>;
}

interface OpenApiOperation {
  readonly summary?: string;
  readonly security?: readonly unknown[];
  readonly responses: Readonly<Record<string, unknown>>;
}

/**
 * The table of routes of one service, in the order of its OpenAPI document.
 *
 * @param document - What the service serves at `/docs/json`.
 */
export function routeTable(document: OpenApiDocument): string {
  const rows = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, { summary = '', security, responses }]) => {
      const statuses = Object.keys(responses).filter((status) => status !== 'default');
      const who = security === undefined || security.length === 0 ? 'all' : 'token';
      return `| ${method.toUpperCase()} \`${path}\` | ${who} | ${summary} | ${statuses.join(', ')} |`;
    }),
  );
  return ['| route | who | what | answers |', '|---|---|---|---|', ...rows].join('\n');
}

/**
 * Puts a table of routes into its page.
 *
 * @throws Error when the page has no place for it.
 */
export function withRouteTable(page: string, table: string): string {
  return withBlock(page, 'routes', table);
}
