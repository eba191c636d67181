import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { Readable } from 'node:stream';

import { packBundle, unpackBundle } from '@azaion/adapters/bundle';
import { journalHeader, journalRecord, replayJournal } from '@azaion/adapters/file-store';
import { generateP256KeyPair, importSigningKey } from '@azaion/crypto';
import { AccessTokenIssuer, JwksSource, JwksTokenVerifier, parseJwks } from '@azaion/identity';
import { DomainError, ManualClock, wantedRange } from '@azaion/kernel';
import { HttpProblem, multipartContent, multipartParts } from '@azaion/nest-support';
import { encodeManifest, isBundlePath, MANIFEST_PATH, MAX_PACK_BYTES } from '@azaion/split-resource';
import multipart from '@fastify/multipart';
import fastify from 'fastify';

import type { FuzzTarget } from './targets.js';

const UUID = 'd955a364-7317-42c7-8a48-fed77b31f69f';
const HEX = '0f'.repeat(32);
/** A reader that has not ended by then hangs. */
const HANGS_MS = 20_000;

/** What a device reads of its callers, its disk, and what is carried to it. */
export async function deviceTargets(): Promise<readonly FuzzTarget[]> {
  return [range(), await multipartBody(), presenceJournal(), await bundleArchive(), ...(await tokens())];
}

function range(): FuzzTarget {
  return {
    name: 'range',
    seeds: ['bytes=0-499', 'bytes=-500', 'bytes=9500-', 'bytes=0-1,3-4'].map((text) => Buffer.from(text)),
    read: (bytes) => {
      for (const totalBytes of [0, 1, 500, 2 ** 40]) {
        const found = wantedRange(bytes.toString('latin1'), totalBytes);
        if (typeof found === 'string') continue;
        const { start, end } = found;
        if (!Number.isSafeInteger(start) || start < 0 || start >= end || end > totalBytes)
          throw new Error(`bytes ${start} to ${end} of ${totalBytes}`);
      }
    },
  };
}

/** The first line of a case is the media type, the rest the body: through the parser that the services use, with a Loader's limits. */
async function multipartBody(): Promise<FuzzTarget> {
  const server = fastify();
  await server.register(multipart, {
    limits: { fileSize: 4097, files: 2, fields: 4, fieldSize: 1024, parts: 6 },
  });
  server.post('/', async (request) => {
    let sizeBytes = 0;
    for await (const part of multipartParts(request))
      if (part.type === 'file') for await (const piece of multipartContent(part.file)) sizeBytes += piece.length;
    return { sizeBytes };
  });
  const failures: Error[] = [];
  server.setErrorHandler((error, _request, reply) => {
    failures.push(error instanceof Error ? error : new Error(String(error)));
    return reply.status(400).send();
  });
  const part = (name: string, more: string, content: string): string =>
    `--x\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${content}\r\n`;
  const type = 'multipart/form-data; boundary=x\n';
  const file = part('data', '; filename="a.onnx"', 'what the file holds');
  return {
    name: 'multipart',
    seeds: [
      Buffer.from(`${type}${part('folder', '', 'models')}${file}--x--\r\n`),
      Buffer.from(`${type}${file}${file}--x--\r\n`),
      Buffer.from(`multipart/form-data; boundary="x"\n--x\r\nContent-Type: a/b\r\n\r\n--x--\r\n`),
    ],
    read: async (bytes) => {
      const end = bytes.indexOf('\n');
      const head = bytes.subarray(0, Math.max(0, end)).toString('latin1');
      const answer = server.inject({
        method: 'POST',
        url: '/',
        // What no HTTP parser would hand on is left out.
        headers: { 'content-type': head.replace(/[^\t\x20-\x7e\x80-\xff]/g, '') },
        payload: bytes.subarray(end + 1),
      });
      await inTime(answer);
      const failure = failures.pop();
      if (failure !== undefined) throw failure;
    },
    refuses: (error) => {
      const status = (error as { statusCode?: unknown } | null)?.statusCode;
      return (
        error instanceof HttpProblem || error instanceof DomainError || (typeof status === 'number' && status < 500)
      );
    },
  };
}

function presenceJournal(): FuzzTarget {
  const added = journalRecord('add', { start: 0, end: 1000 });
  return {
    name: 'presence-journal',
    seeds: [
      Buffer.concat([journalHeader(), added, journalRecord('remove', { start: 10, end: 20 })]),
      Buffer.concat([journalHeader(), added, journalRecord('add', { start: 5000, end: MAX_PACK_BYTES })]),
    ],
    read: (bytes) => {
      const journal = replayJournal(bytes);
      if (journal === undefined) return;
      const { present, wholeBytes } = journal;
      const isRight = present.all.every(({ start, end }) => start >= 0 && start < end && end <= MAX_PACK_BYTES);
      if (!isRight || wholeBytes > bytes.length || present.sizeBytes > MAX_PACK_BYTES)
        throw new Error('more is said to be there than a pack has');
    },
  };
}

async function bundleArchive(): Promise<FuzzTarget> {
  const path = `statements/${HEX}.jws`;
  const resource = { folder: 'models', name: 'a', version: 1, kind: 'file' as const, totalBytes: 1 };
  const manifest = encodeManifest({
    createdAt: 1,
    resources: [{ ...resource, folderId: UUID, rootHash: HEX }],
    serials: ['azj-0001'],
    files: [{ path, sizeBytes: 1, sha256: HEX }],
  });
  const root = await mkdtemp(join(tmpdir(), 'azaion-fuzz-'));
  process.once('exit', () => rmSync(root, { recursive: true, force: true }));
  const bundle = join(root, 'bundle');
  await mkdir(join(bundle, 'statements'), { recursive: true });
  await writeFile(join(bundle, MANIFEST_PATH), manifest);
  await writeFile(join(bundle, path), 'x');
  await packBundle(bundle, `${bundle}.tar`);
  let cases = 0;
  return {
    name: 'bundle-archive',
    seeds: [await readFile(`${bundle}.tar`)],
    read: async (bytes) => {
      const directory = join(root, String(cases++), 'inside');
      await mkdir(directory, { recursive: true });
      try {
        await inTime(unpackBundle(Readable.from([bytes]), directory));
      } finally {
        const entries = await readdir(join(directory, '..'), { recursive: true, withFileTypes: true });
        await rm(join(directory, '..'), { recursive: true });
        for (const entry of entries) {
          const name = relative(directory, join(entry.parentPath, entry.name));
          if (entry.isDirectory() || name === MANIFEST_PATH || (entry.isFile() && isBundlePath(name))) continue;
          throw new Error(`unpacked ${name}`);
        }
      }
    },
  };
}

/** Tokens as callers send them: with a signature that is wrong, and signed truly over what is no claim of an access token. */
async function tokens(): Promise<FuzzTarget[]> {
  const { privateJwk, publicJwk } = await generateP256KeyPair();
  const set = { keys: [{ ...publicJwk, kid: 'key', use: 'sig', alg: 'ES256' }] };
  class OneKey extends JwksSource {
    override currentKeys(): Promise<unknown> {
      return Promise.resolve(set);
    }
  }
  const clock = new ManualClock(1_800_000_000_000);
  const expected = { issuer: 'azaion-admin-api', audience: 'azaion' };
  const verifier = new JwksTokenVerifier(new OneKey(), clock, expected);
  const key = await importSigningKey('key', privateJwk);
  const issuer = new AccessTokenIssuer(() => Promise.resolve(key), clock, { ...expected, lifetimeSeconds: 900 });
  const token = await issuer.issue({ userId: UUID, email: 'a@azaion.com', role: 'Operator', sessionId: UUID });
  return [
    {
      name: 'jwks',
      seeds: [Buffer.from(JSON.stringify(set))],
      read: (bytes) => {
        let value: unknown;
        try {
          value = JSON.parse(bytes.toString('utf8'));
        } catch {
          return;
        }
        for (const { kid, publicKey } of parseJwks(value) ?? [])
          if (kid === '' || publicKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new Error('no such key');
      },
    },
    {
      name: 'access-token',
      seeds: [Buffer.from(token)],
      read: async (bytes) => {
        const caller = await verifier.verify(bytes.toString('latin1'));
        if (caller.userId !== UUID || caller.role !== 'Operator') throw new Error('a changed token was believed');
      },
    },
  ];
}

/** @throws Error when the work does not end. */
async function inTime(work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const hangs = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the reader hangs')), HANGS_MS);
  });
  try {
    await Promise.race([work, hangs]);
  } finally {
    clearTimeout(timer);
  }
}
