import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';

import { describeWith, pseudoRandomBytes, pseudoRandomStream, startPostgres, startRadosGateway } from '@azaion/testing';

import { readDemoModel } from '../demo/demo-model.js';
import { type OpenApiDocument, routeTable } from '../docs/http-reference.js';
import { DESCRIBED_SERVICES } from '../docs/openapi-client.js';
import { WORKSPACE } from '../started-service.js';
import { bodyOf, digestOf } from './streams.js';
import { answerOf, type Person, startSystem, type StartedSystem, type SystemOptions } from './started-system.js';

/** What a system stands on. */
interface Stores {
  readonly options: SystemOptions;
  stop(): Promise<void>;
}

/** Time in which both replicas serve, between the kills. */
const KILL_EVERY_MS = 1_000;
const MIB = 1024 * 1024;
const LARGE_BYTES = 300 * 1000 * 1000;
/** Peak resident size that a load may add to an idle Loader (quality bar of the first release). */
const LOAD_MEMORY_BYTES = 160 * MIB;

/** @param disturb - Goes on beside the tests until it is told to stop. */
function describeResourceFlows(
  stores: () => Promise<Stores>,
  disturb?: (system: StartedSystem, stopped: AbortSignal) => Promise<void>,
): void {
  let system: StartedSystem;
  let opened: Stores;
  const end = new AbortController();
  let disturbing: Promise<void> | undefined;
  let publisher: Person;
  let operator: Person;
  let publisherToken: string;
  let operatorToken: string;

  beforeAll(async () => {
    opened = await stores();
    system = await startSystem(opened.options);
    publisher = await system.createPerson('ResourceUploader');
    operator = await system.createPerson('Operator');
    publisherToken = await system.login(publisher);
    operatorToken = await system.login(operator);
    disturbing = disturb?.(system, end.signal);
  }, 180_000);

  afterAll(async () => {
    end.abort();
    await disturbing;
    await system.stop();
    await opened.stop();
  });

  const upload = (name: string, content: Readable | Buffer, token = publisherToken): Promise<Response> =>
    system.requests.upload(name, content, token);
  const load = (name: string, folder?: string): Promise<Response> => system.requests.load(name, operatorToken, folder);

  describe('F3 then F2', () => {
    it.each([0, 1, 100_000])('publishes and loads %i bytes, identical', async (sizeBytes) => {
      const content = pseudoRandomBytes('small', sizeBytes);
      const published = await upload(`generated-${sizeBytes}.bin`, content);
      expect(published.status).toBe(200);
      expect(await published.json()).toMatchObject({ status: 'ok', version: 1, bytes: sizeBytes });

      const loaded = await load(`generated-${sizeBytes}.bin`);
      expect(loaded.status).toBe(200);
      expect(loaded.headers.get('content-length')).toBe(String(sizeBytes));
      expect(loaded.headers.get('x-resource-version')).toBe('1');
      expect(Buffer.from(await loaded.arrayBuffer()).equals(content)).toBe(true);
    });

    it('publishes a real ONNX model by multipart and loads it, identical', async () => {
      const { bytes: model } = await readDemoModel();
      const form = new FormData();
      form.append('folder', 'models');
      form.append('data', new Blob([new Uint8Array(model)]), 'recognition.onnx');
      const published = await fetch(`${system.loaderUrl}/upload/recognition.onnx`, {
        method: 'POST',
        headers: { authorization: `Bearer ${publisherToken}` },
        body: form,
      });
      expect(published.status).toBe(200);
      const loaded = await load('recognition.onnx');
      expect(Buffer.from(await loaded.arrayBuffer()).equals(model)).toBe(true);
    });

    it('moves only what changed when a second version is published, and serves the newest', async () => {
      const { bytes: changed } = await readDemoModel();
      changed.fill(0x5a, 4 * MIB, 4 * MIB + 1000);
      const published = (await (await upload('recognition.onnx', changed)).json()) as {
        version: number;
        uploadedBytes: number;
      };
      expect(published.version).toBe(2);
      expect(published.uploadedBytes).toBeLessThan(MIB);
      const loaded = await load('recognition.onnx');
      expect(loaded.headers.get('x-resource-version')).toBe('2');
      expect(Buffer.from(await loaded.arrayBuffer()).equals(changed)).toBe(true);
    });

    it('makes no new version of identical bytes', async () => {
      const content = Buffer.from('the same bytes twice');
      await upload('same.bin', content);
      const again = (await (await upload('same.bin', content)).json()) as { version: number };
      expect(again.version).toBe(1);
    });

    it('publishes and loads 300 MB, identical, within 160 MiB above an idle Loader', async () => {
      const published = await upload('large.bin', pseudoRandomStream('large', LARGE_BYTES));
      expect(published.status).toBe(200);
      await system.restartLoader(); // the upload ran in the old process: its peak is not the load's
      const idle = (await system.loader().memory()).residentBytes;
      const loaded = await load('large.bin');
      const [received, sent] = [
        await digestOf(bodyOf(loaded)),
        await digestOf(pseudoRandomStream('large', LARGE_BYTES)),
      ];
      expect(received).toEqual(sent);
      const { peakBytes } = await system.loader().memory();
      expect(peakBytes - idle).toBeLessThan(LOAD_MEMORY_BYTES);
    });
  });

  describe('refusals', () => {
    it('answers 401 to a wrong password, the same for an unknown account', async () => {
      const login = (email: string): Promise<Response> =>
        system.requests.login({ email, password: 'not the password' });
      const [wrong, unknown] = [await login(operator.email), await login('nobody@example.com')];
      expect([wrong.status, unknown.status]).toEqual([401, 401]);
      const [first, second] = (await Promise.all([wrong.json(), unknown.json()])) as Record<string, unknown>[];
      expect({ ...first, requestId: '' }).toEqual({ ...second, requestId: '' });
    });

    it('answers 401 without a token', async () => {
      const response = await system.requests.load('recognition.onnx');
      expect(response.status).toBe(401);
      expect(response.headers.get('content-type')).toContain('application/problem+json');
    });

    it('answers 403 to an upload by a role that may not write', async () => {
      expect((await upload('forbidden.bin', Buffer.from('x'), operatorToken)).status).toBe(403);
    });

    it('answers 404 for a name that does not exist', async () => {
      expect((await load('nothing-of-this-name.bin')).status).toBe(404);
    });

    it.each(['../secret', '.hidden', 'a/b', 'a\\b', 'nul\0byte', '%2e%2e', 'ünicode', 'x'.repeat(201)])(
      'answers 422 to the name %j',
      async (name) => {
        expect((await load(name)).status).toBe(422);
      },
    );

    it('answers 422 to ".." as a client sends it that does not tidy its paths', async () => {
      const { hostname, port } = new URL(system.loaderUrl);
      const status = await new Promise<number | undefined>((resolve, reject) => {
        request({
          hostname,
          port,
          method: 'POST',
          path: '/load/..',
          headers: { 'content-type': 'application/json', authorization: `Bearer ${operatorToken}` },
        })
          .on('response', (response) => {
            response.resume();
            resolve(response.statusCode);
          })
          .on('error', reject)
          .end(JSON.stringify({ filename: '..', folder: 'models' }));
      });
      expect(status).toBe(422);
    });

    it('answers 422 to a folder that climbs out', async () => {
      expect((await load('recognition.onnx', '..')).status).toBe(422);
    });

    it('names an unknown field', async () => {
      const response = await fetch(`${system.loaderUrl}/load/recognition.onnx`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${operatorToken}` },
        body: JSON.stringify({ filename: 'recognition.onnx', folder: 'models', hardware: 'CPU: x' }),
      });
      expect(response.status).toBe(422);
      expect(JSON.stringify(await response.json())).toContain('hardware');
    });
  });

  describe('F6 and documentation', () => {
    it('answers the older health probe exactly', async () => {
      const response = await fetch(`${system.loaderUrl}/health`);
      expect(await response.text()).toBe('{"status":"healthy"}');
    });

    it.each(['live', 'ready', 'startup'])('answers /health/%s on both services', async (probe) => {
      for (const url of [system.adminUrl, system.loaderUrl]) {
        const ask = async (): Promise<number> => (await fetch(`${url}/health/${probe}`)).status;
        let status = await ask();
        // A Loader that looked while a replica died says so until it looks again.
        while (disturb !== undefined && probe === 'ready' && status === 503) {
          await setTimeout(500);
          status = await ask();
        }
        expect(status).toBe(200);
      }
    });

    it('serves Swagger UI and OpenAPI 3.1 on both services', async () => {
      for (const url of [system.adminUrl, system.loaderUrl]) {
        const page = await fetch(`${url}/docs`);
        expect(page.status).toBe(200);
        expect(await page.text()).toContain('swagger-ui');
        const document = (await (await fetch(`${url}/docs/json`)).json()) as { openapi: string };
        expect(document.openapi).toMatch(/^3\.1\./);
      }
    });

    it('documents every route, as the pages in docs/reference have them', async () => {
      const { 'admin-api': adminApi, loader } = DESCRIBED_SERVICES;
      for (const [url, { page, document: path }] of [
        [system.adminUrl, adminApi],
        [system.loaderUrl, loader],
      ] as const) {
        const document = (await (await fetch(`${url}/docs/json`)).json()) as OpenApiDocument;
        const read = (file: string): Promise<string> => readFile(join(WORKSPACE, file), 'utf8');
        expect(await read(page)).toContain(routeTable(document));
        expect(JSON.parse(await read(path))).toEqual(document);
      }
    });

    it('shows the device as enrolled', async () => {
      const api = system.adminApi(await system.loginAtAdmin(system.administrator));
      const device = await answerOf(api.GET('/devices/{serial}', { params: { path: { serial: system.serial } } }));
      expect(device).toMatchObject({ serial: system.serial, status: 'enrolled' });
    });
  });
}

describe('resources with the file store', () => {
  describeResourceFlows(() => Promise.resolve({ options: {}, stop: () => Promise.resolve() }));
});
describeWith('ceph', 'resources with S3 (RADOS gateway)', () => {
  describeResourceFlows(async () => {
    const s3 = await startRadosGateway();
    return { options: { s3 }, stop: () => s3.stop() };
  });
});
describeWith(['ceph', 'postgresql'], 'resources with two Admin APIs, of which one is killed again and again', () => {
  describeResourceFlows(
    async () => {
      const [s3, postgres] = await Promise.all([startRadosGateway(), startPostgres()]);
      return {
        options: { s3, databaseUrl: postgres.url() },
        stop: async () => {
          await postgres.stop();
          await s3.stop();
        },
      };
    },
    async ({ replicas }, stopped) => {
      for (let turn = 0; !stopped.aborted; turn += 1) {
        await replicas?.crash(turn % 2);
        await setTimeout(KILL_EVERY_MS, undefined, { signal: stopped }).catch(() => undefined);
      }
    },
  );
});
