import openapiTS, { astToString } from 'openapi-typescript';
import { format, resolveConfig } from 'prettier';

/** The services that describe themselves, where their descriptions are kept, and where the types for their clients lie. */
export const DESCRIBED_SERVICES = {
  'admin-api': {
    page: 'docs/reference/admin-http.md',
    document: 'docs/reference/openapi/admin-api.json',
    types: 'libs/adapters/src/service-client/generated/admin-api.ts',
  },
  loader: {
    page: 'docs/reference/loader-http.md',
    document: 'docs/reference/openapi/loader.json',
    types: 'libs/adapters/src/service-client/generated/loader.ts',
  },
} as const;

const HEADER = `/** Made by \`npm run docs\` from the OpenAPI document of the service; a test fails when it is out of date. */\n`;

/** A description as it is kept: readable, with a line for each member. */
export async function documentText(document: object, path: string): Promise<string> {
  return format(JSON.stringify(document), { ...(await resolveConfig(path)), filepath: path });
}

/** The types of a client for a service. @param document - What the service serves at `/docs/json`. */
export async function clientTypes(document: object, path: string): Promise<string> {
  const nodes = await openapiTS(structuredClone(document) as Parameters<typeof openapiTS>[0]);
  return format(HEADER + astToString(nodes), { ...(await resolveConfig(path)), filepath: path });
}
