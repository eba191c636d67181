import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';

import { commonProblems, type DocumentedOperation, problemResponse } from './problem-responses.js';
import { listRoutes } from './routes.js';

/** How an API presents itself in its description. */
export interface ApiDescription {
  readonly title: string;
  readonly description: string;
  readonly version: string;
  /** Status of a request that does not match its class. */
  readonly validationStatus: 400 | 422;
}

/** Content security policy of everything but the documentation. */
export const API_CSP = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/** Content security policy of Swagger UI: its own origin only. */
export const DOCS_CSP =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'self'; form-action 'none'";

/** Serves OpenAPI 3.1 at `/docs/json` and Swagger UI at `/docs`, from this origin alone. */
export function serveOpenApi(app: INestApplication, api: ApiDescription): void {
  SwaggerModule.setup('docs', app, () => openApiDocument(app, api), {
    jsonDocumentUrl: 'docs/json',
    yamlDocumentUrl: 'docs/yaml',
    swaggerOptions: { validatorUrl: null },
  });
}

/** The API's description; every operation may answer with a problem document. */
export function openApiDocument(app: INestApplication, api: ApiDescription): OpenAPIObject {
  const config = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle(api.title)
    .setDescription(api.description)
    .setVersion(api.version)
    .addServer('/', 'This service')
    .addBearerAuth({ type: 'http', scheme: 'bearer', bearerFormat: 'JWT' })
    .build();
  const document = SwaggerModule.createDocument(app, config);
  document.components = {
    ...document.components,
    schemas: { ...document.components?.schemas, Problem: PROBLEM_SCHEMA },
  };
  for (const path of Object.values(document.paths))
    for (const operation of Object.values(path) as (DocumentedOperation & { responses?: Record<string, unknown> })[]) {
      if (typeof operation !== 'object' || operation.responses === undefined) continue;
      for (const status of commonProblems(operation, api.validationStatus))
        operation.responses[status] ??= problemResponse(status);
      operation.responses['default'] ??= problemResponse(0);
      Object.assign(operation, { security: operation.security ?? [] }); // open to all, said expressly
    }
  describeAccess(app, document);
  return document;
}

/** Who may call an operation, as the guards read it: `x-access` of the operation. */
function describeAccess(app: INestApplication, document: OpenAPIObject): void {
  for (const { method, path, rule } of listRoutes(app)) {
    const item = document.paths[path.replace(/:([^/]+)/g, '{$1}')];
    const operation = (item as Record<string, object | undefined> | undefined)?.[method.toLowerCase()];
    if (operation !== undefined && rule !== undefined) Object.assign(operation, { 'x-access': rule });
  }
}

const PROBLEM_SCHEMA = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'instance', 'code', 'requestId'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    instance: { type: 'string' },
    code: { type: 'string', description: 'Stable, `area.problem`' },
    requestId: { type: 'string' },
  },
};
