import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { concatBytes, utf8 } from '@azaion/kernel';
import fc from 'fast-check';

import { Database } from '../persistence/database.js';
import { EmbeddedPostgres } from '../persistence/embedded-postgres.js';
import { TestDevice } from '../testing/device.js';
import { BOUNDARY, fileForm, type GoodRequest, GoodRequests } from '../testing/good-requests.js';
import { makeOlderUsers } from '../testing/older-installation.js';
import { ADMINISTRATOR, type Answer, type StartedApi, startApi } from '../testing/started-api.js';

/** Cases for each operation, beside a good one; the long run takes more (`FUZZ_CASES`). */
const CASES = Number(process.env['FUZZ_CASES'] ?? 12);
/** The same cases every time, but for the long run. */
const SEED = process.env['FUZZ_CASES'] === undefined ? { seed: 1 } : {};
/** Cases whose answer holds all that the cases before have left behind. */
const MOST_READING_ALL = 100;
const READING_ALL = ['GET /audit/export', 'GET /audit/verify'];
const A_CASE_MS = 5_000;
/** Ends the session of the token that is sent: the other cases need theirs. */
const LOGS_OUT = ['POST /logout', 'POST /logout/all'];
/** What this API cannot answer well, and why. */
const NEVER_GOOD: Readonly<Record<string, string>> = {
  'POST /devices/{serial}/enrolment/activation': 'needs a TPM: attestation.spec.ts',
  'PUT /statement-keys/document': 'is for an offline root: statement-keys.spec.ts',
};
const MULTIPART = 'multipart/form-data';

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
  readonly nullable?: boolean;
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

/** Forms with a file, and what is nearly one. */
const FORM = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.constantFrom('a', 'b.small', 'x y', '..', ''), fc.uint8Array())
      .map(([name, bytes]) => fileForm(name, bytes)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.string({ unit: 'binary' }), fc.uint8Array()).map(([name, bytes]) => fileForm(name, bytes)),
  },
  { weight: 1, arbitrary: fc.nat(120).map((length) => fileForm('cut', utf8('short')).subarray(0, length)) },
  {
    weight: 1,
    arbitrary: fc
      .uint8Array()
      .map((bytes) => concatBytes(fileForm('two', bytes).subarray(0, -4), utf8('\r\n'), fileForm('more', bytes))),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 2_000 }) },
);

describe('every operation of the Admin API, by its own description', () => {
  let directory: string;
  let postgres: EmbeddedPostgres;
  let api: StartedApi;
  let document: Document;
  let good: GoodRequests;
  let others: readonly (string | undefined)[];
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'azaion-fuzz-'));
    await chmod(directory, 0o755); // root's database user must reach it
    postgres = await EmbeddedPostgres.start(directory);
    const { host, user, password, database } = postgres.connection;
    // An older installation's table of users has other columns than a fresh one.
    const owner = new Database(postgres.connection);
    await makeOlderUsers(owner.queries, [{ ...ADMINISTRATOR, role: '1000' }]);
    await owner.close();
    api = await startApi({
      DATABASE_URL: `postgresql://${user}:${password}@/${database}?host=${encodeURIComponent(host)}`,
      ACCESS_TOKEN_SECONDS: '86400',
      SESSION_SECONDS: '86400',
      LOGIN_ATTEMPTS_PER_ACCOUNT: '1000000',
      LOGIN_FAILURES_UNTIL_LOCK: '1000000',
    });
    document = (await api.call('GET', '/docs/json')).json as Document;
    good = await GoodRequests.prepare(api);
    const device = await TestDevice.enrolled(api);
    others = [undefined, 'not-a-token', await device.token(), (await api.account('Operator')).token];
  });
  afterAll(async () => {
    await api.stop();
    await postgres.stop();
    await rm(directory, { recursive: true, force: true });
  });

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
  /** A good body with one member that is not. */
  const nearly = (body: object): fc.Arbitrary<unknown> =>
    fc
      .tuple(fc.constantFrom(...Object.keys(body), 'hardware'), fc.oneof(ODD, fc.constant(undefined)))
      .map(([name, value]) => ({ ...body, [name]: value }));

  const bodies = (method: string, operation: Operation, { body }: GoodRequest): fc.Arbitrary<unknown> => {
    const [type, media] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
    if (type === undefined)
      return fc.constantFrom<unknown>(undefined, ...(method === 'get' ? [] : [{}, { hardware: 'x' }]));
    if (type === MULTIPART) return FORM;
    if (type !== 'application/json') return fc.uint8Array({ maxLength: 2_000 });
    const fitted = { weight: 3, arbitrary: fitting(media?.schema) };
    const broken = { weight: 1, arbitrary: fc.constant('{"a":') };
    return body === undefined || body instanceof Uint8Array
      ? fc.oneof(fitted, broken)
      : fc.oneof({ weight: 4, arbitrary: nearly(body) }, { weight: 1, arbitrary: fc.constant(body) }, fitted, broken);
  };

  /** Requests of an operation around a good one. */
  const requests = (method: string, operation: Operation, like: GoodRequest): fc.Arbitrary<Request> =>
    fc.record({
      parameters: fc.tuple(
        ...(operation.parameters ?? []).map((parameter) => {
          const known = like.path?.[parameter.name];
          const example = known ?? parameter.example;
          const arbitrary = fitting({ ...parameter.schema, ...(example === undefined ? {} : { example }) });
          const often = known ?? parameter.schema?.example ?? parameter.example;
          return fc
            .oneof(
              { weight: parameter.in === 'path' && often !== undefined ? 6 : 0, arbitrary: fc.constant(often) },
              { weight: parameter.in === 'path' ? 0 : 2, arbitrary: fc.constant(undefined) },
              { weight: 3, arbitrary },
            )
            .map((value) => ({ ...parameter, text: textOf(value) }));
        }),
      ),
      type: fc.constant(Object.keys(operation.requestBody?.content ?? {})[0]),
      body: bodies(method, operation, like),
      token: fc.oneof(
        { weight: 3, arbitrary: fc.constant(like.token ?? api.administrator.token) },
        { weight: 2, arbitrary: fc.constantFrom(...others) },
      ),
    });
  /** The good request itself. */
  const goodOne = (operation: Operation, { path, body, token }: GoodRequest): Request => {
    const [type, media] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
    return {
      parameters: (operation.parameters ?? [])
        .filter((parameter) => parameter.in === 'path')
        .map((parameter) => ({
          ...parameter,
          text: textOf(path?.[parameter.name] ?? parameter.example ?? exampleOf(parameter.schema)),
        })),
      type,
      body: body ?? (media === undefined ? undefined : exampleOf(media.schema)),
      token: token ?? api.administrator.token,
    };
  };
  const exampleOf = (schema: Schema = {}): unknown => {
    const named = schema.$ref?.split('/').at(-1);
    if (named !== undefined) return exampleOf(document.components.schemas[named]);
    if (schema.example !== undefined || schema.properties === undefined)
      return schema.example ?? schema.enum?.[0] ?? schema.minimum;
    return Object.fromEntries(Object.entries(schema.properties).map(([name, each]) => [name, exampleOf(each)]));
  };

  const send = async (operation: string, request: Request): Promise<Answer> => {
    const [method = '', path = ''] = operation.split(' ');
    const of = (place: string) => request.parameters.filter((parameter) => parameter.in === place);
    const at = of('path').reduce((text, { name, text: value }) => text.replace(`{${name}}`, encoded(value)), path);
    const query = of('query').filter(({ text }) => text !== 'undefined');
    const search = query.map(({ name, text }) => `${encoded(name)}=${encoded(text)}`).join('&');
    const headers = of('header').filter(({ name, text }) => /^[\x21-\x7e]+$/.test(text) && name !== 'Azaion-Device');
    const type = request.type === MULTIPART ? `${MULTIPART}; boundary=${BOUNDARY}` : request.type;
    return api.call(method, search === '' ? at : `${at}?${search}`, {
      token: request.token,
      body: typeof request.body === 'string' || request.body === undefined ? request.body : bodyOf(request.body),
      headers: {
        ...(type === undefined || request.body === undefined ? {} : { 'content-type': type }),
        ...Object.fromEntries(headers.map(({ name, text }) => [name, text])),
      },
    });
  };

  it(
    'answers nothing but what it documents, never 500, and what is good as such',
    async () => {
      const failures: string[] = [];
      const answeredWell = new Set<string>();
      for (const [path, operations] of Object.entries(document.paths))
        for (const [method, operation] of Object.entries(operations)) {
          const name = `${method.toUpperCase()} ${path}`;
          const run = async (request: Request): Promise<boolean> => {
            const { status, text } = await send(name, request);
            if (status < 300) answeredWell.add(name);
            if (status < 500 ? String(status) in operation.responses : status === 503) return true;
            failures.push(`${name} → ${status} ${text.slice(0, 300)}\n  ${JSON.stringify(request).slice(0, 600)}`);
            return false;
          };
          const like = await good.of(name);
          const numRuns = READING_ALL.includes(name) ? Math.min(CASES, MOST_READING_ALL) : CASES;
          const around = requests(method, operation, like).filter(
            ({ token }) => !LOGS_OUT.includes(name) || !others.slice(2).includes(token),
          );
          const outcome = await fc.check(fc.asyncProperty(around, run), {
            ...SEED,
            numRuns,
            examples: [[goodOne(operation, like)]],
            endOnFailure: true,
          });
          if (outcome.failed) failures.push(`${name}: ${String(outcome.errorInstance)}`);
          if (answeredWell.has(name) === name in NEVER_GOOD)
            failures.push(`${name}: ${answeredWell.has(name) ? 'was answered well' : 'was never answered well'}`);
        }
      expect(failures).toEqual([]);
    },
    CASES * A_CASE_MS,
  );

  it('refuses null by name for every member of a body that is not described to take it', async () => {
    const failures: string[] = [];
    let tried = 0;
    for (const [path, operations] of Object.entries(document.paths))
      for (const [method, operation] of Object.entries(operations)) {
        const name = `${method.toUpperCase()} ${path}`;
        const schema = resolved(operation.requestBody?.content['application/json']?.schema);
        for (const [member, described] of Object.entries(schema?.properties ?? {})) {
          if (takesNull(described)) continue;
          const request = goodOne(operation, await good.of(name));
          const answer = await send(name, { ...request, body: { ...(request.body as object), [member]: null } });
          const problem = answer.json as { readonly errors?: readonly { readonly field: string }[] } | undefined;
          const fields = problem?.errors?.map(({ field }) => field);
          tried += 1;
          if (answer.status !== 400 || fields?.includes(member) !== true)
            failures.push(`${name}: null for ${member} → ${answer.status} ${fields?.join() ?? ''}`);
        }
      }
    expect(failures).toEqual([]);
    expect(tried).toBeGreaterThan(40);
  });

  const resolved = (schema: Schema | undefined): Schema | undefined => {
    const named = schema?.$ref?.split('/').at(-1);
    return named === undefined ? schema : document.components.schemas[named];
  };
  const takesNull = ({ type, nullable, oneOf = [] }: Schema): boolean =>
    nullable === true || type === 'null' || (type?.includes('null') ?? false) || oneOf.some(takesNull);
});

interface Request {
  readonly parameters: readonly (Parameter & { readonly text: string })[];
  readonly type: string | undefined;
  readonly body: unknown;
  readonly token: string | undefined;
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
