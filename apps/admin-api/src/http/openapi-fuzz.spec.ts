import { randomUUID } from 'node:crypto';

import fc from 'fast-check';

import { TestDevice } from '../testing/device.js';
import { type Answer, type StartedApi, startApi } from '../testing/started-api.js';

/** Cases for each operation; the long run takes more (`FUZZ_CASES`). */
const CASES = Number(process.env['FUZZ_CASES'] ?? 12);
/** The same cases every time, but for the long run. */
const SEED = process.env['FUZZ_CASES'] === undefined ? { seed: 1 } : {};
/** Ends the caller's own session, of which every other case needs one. */
const LOGS_OUT = ['/logout', '/logout/all'];

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly example?: unknown;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
}
interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly schema?: Schema;
  readonly example?: unknown;
}
interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema?: Schema }>> };
  readonly responses: Readonly<Record<string, unknown>>;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

/** Values that have broken parsers before. */
const ODD = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    0,
    -1,
    0.5,
    1e308,
    2 ** 53,
    '',
    ' ',
    'A',
    '..',
    '\0',
    '\ud800',
    '١',
    'x'.repeat(5_000),
  ),
  fc.constantFrom<unknown>([], {}, [[]], [null], { __proto__: null }, '%00', "' or 1=1 --", '$ne', '\u202e', '1e9'),
  fc.string({ unit: 'grapheme' }),
  fc.jsonValue(),
);

describe('every operation of the Admin API, by its own description', () => {
  let api: StartedApi;
  let document: Document;
  let tokens: readonly (string | undefined)[];
  beforeAll(async () => {
    api = await startApi({ LOGIN_ATTEMPTS_PER_ACCOUNT: '1000000' });
    document = (await api.call('GET', '/docs/json')).json as Document;
    await TestDevice.register(api); // the device of the examples: it will be revoked
    const device = await TestDevice.enrolled(api);
    tokens = [
      undefined,
      'not-a-token',
      api.administrator.token,
      await device.token(),
      (await api.account('Operator')).token,
    ];
  });
  afterAll(() => api.stop());

  /** Something that fits a schema, mostly. */
  const fitting = (schema: Schema = {}, depth = 0): fc.Arbitrary<unknown> => {
    const named = schema.$ref?.split('/').at(-1);
    if (named !== undefined) return fitting(document.components.schemas[named], depth);
    const either = schema.oneOf ?? schema.allOf;
    if (either !== undefined) return fc.oneof(...either.map((each) => fitting(each, depth)));
    if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
    const example = schema.example === undefined ? [] : [{ weight: 3, arbitrary: fc.constant(schema.example) }];
    return fc.oneof(...example, { weight: 2, arbitrary: typed(schema, depth) }, { weight: 1, arbitrary: ODD });
  };
  const typed = (schema: Schema, depth: number): fc.Arbitrary<unknown> => {
    switch (schema.type) {
      case 'object': {
        if (depth > 4) return fc.constant({});
        const members = Object.entries(schema.properties ?? {}).map(([name, each]) => [name, fitting(each, depth + 1)]);
        return fc.record(Object.fromEntries(members) as Record<string, fc.Arbitrary<unknown>>, { requiredKeys: [] });
      }
      case 'array':
        return fc.array(fitting(schema.items, depth + 1), { maxLength: 5 });
      case 'integer':
      case 'number':
        return fc.oneof(fc.integer({ min: schema.minimum ?? -5, max: schema.maximum ?? 300 }), fc.integer());
      case 'boolean':
        return fc.boolean();
      default:
        return schema.format === 'uuid' ? fc.constant(randomUUID()) : fc.string();
    }
  };

  /** One request of an operation. */
  const requests = (method: string, operation: Operation) => {
    const parameters = (operation.parameters ?? []).map((parameter) =>
      fitting({ ...parameter.schema, ...(parameter.example === undefined ? {} : { example: parameter.example }) }).map(
        (value) => ({ ...parameter, text: textOf(value) }),
      ),
    );
    const [type, media] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
    return fc.record({
      parameters: fc.tuple(...parameters),
      type: fc.constant(type),
      body:
        type === undefined
          ? fc.constantFrom<unknown>(undefined, ...(method === 'get' ? [] : [{}, { hardware: 'x' }]))
          : type === 'application/json'
            ? fc.oneof({ weight: 6, arbitrary: fitting(media?.schema) }, { weight: 1, arbitrary: fc.constant('{"a":') })
            : fc.uint8Array({ maxLength: 2_000 }),
      token: fc.nat(tokens.length - 1),
    });
  };

  const send = async (method: string, path: string, request: GeneratedRequest): Promise<Answer> => {
    const of = (place: string) => request.parameters.filter((parameter) => parameter.in === place);
    const at = of('path').reduce((text, { name, text: value }) => text.replace(`{${name}}`, encoded(value)), path);
    const query = of('query').filter(({ text }) => text !== 'undefined');
    const search = query.map(({ name, text }) => `${encoded(name)}=${encoded(text)}`).join('&');
    const headers = of('header').filter(({ name, text }) => /^[\x21-\x7e]+$/.test(text) && name !== 'Azaion-Device');
    return api.call(method, search === '' ? at : `${at}?${search}`, {
      token: tokens[request.token],
      body: typeof request.body === 'string' || request.body === undefined ? request.body : bodyOf(request.body),
      headers: {
        ...(request.type === undefined || request.body === undefined ? {} : { 'content-type': request.type }),
        ...Object.fromEntries(headers.map(({ name, text }) => [name, text])),
      },
    });
  };

  it('answers nothing but what it documents, and never 500', async () => {
    const failures: string[] = [];
    for (const [path, operations] of Object.entries(document.paths)) {
      if (LOGS_OUT.includes(path)) continue;
      for (const [method, operation] of Object.entries(operations)) {
        const run = async (request: GeneratedRequest): Promise<boolean> => {
          const { status, text } = await send(method.toUpperCase(), path, request);
          if (status < 500 ? String(status) in operation.responses : status === 503) return true;
          failures.push(
            `${method.toUpperCase()} ${path} → ${status} ${text.slice(0, 300)}\n  ${JSON.stringify(request).slice(0, 600)}`,
          );
          return false;
        };
        const outcome = await fc.check(fc.asyncProperty(requests(method, operation), run), {
          ...SEED,
          numRuns: CASES,
          endOnFailure: true,
        });
        if (outcome.failed) failures.push(`${path}: ${String(outcome.errorInstance)}`);
      }
    }
    expect(failures).toEqual([]);
  });
});

interface GeneratedRequest {
  readonly parameters: readonly (Parameter & { readonly text: string })[];
  readonly type: string | undefined;
  readonly body: unknown;
  readonly token: number;
}

function textOf(value: unknown): string {
  if (value === undefined) return 'undefined';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** As a client sends it that encodes whatever it is given. Dots alone it would take for a way up, and nothing for another address. */
function encoded(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(/^\.{0,2}$/, '%20');
}

function bodyOf(body: unknown): unknown {
  return body instanceof Uint8Array ? body : JSON.stringify(body);
}
