import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';

import { ChunkWorkerPool } from '@azaion/adapters/chunk-workers';
import { DirectoryPackSource, DirectoryPackStore, DirectorySegmentStore } from '@azaion/adapters/file-store';
import { ApiClient, fixedToken, HttpGrantApi, HttpWellKnown } from '@azaion/adapters/resource-api';
import { FileStatementTrust } from '@azaion/adapters/trust-store';
import { ephemeralRecipient } from '@azaion/crypto';
import { resourceName, SystemClock } from '@azaion/kernel';
import { FetchResource, PackReader } from '@azaion/split-resource';

/** A process of its own: opens one resource from packs on this machine into a file, with every check on. */
const { values } = parseArgs({
  options: {
    api: { type: 'string', default: '' },
    token: { type: 'string', default: '' },
    packs: { type: 'string', default: '' },
    work: { type: 'string', default: '' },
    resource: { type: 'string', default: '' },
    output: { type: 'string', default: '' },
    threads: { type: 'string', default: '0' },
  },
});
const [folder = '', name = ''] = values.resource.split('/');
const threads = Number(values.threads);
const clock = new SystemClock();
const client = new ApiClient({ baseUrl: values.api });
const pool = threads > 0 ? new ChunkWorkerPool({ threads }) : undefined;
const trust = await FileStatementTrust.open({
  dataDirectory: values.work,
  root: undefined,
  trustOnFirstUse: true,
  documents: new HttpWellKnown(client),
  clock,
  warn: () => undefined,
});
const opened = await new FetchResource({
  api: new HttpGrantApi(client, fixedToken(values.token)),
  trust,
  reader: new PackReader(new DirectoryPackStore({ directory: `${values.work}/packs`, limitBytes: 2 ** 40 }), [
    new DirectoryPackSource(values.packs),
  ]),
  segments: new DirectorySegmentStore(`${values.work}/segments`),
  clock,
  ...(pool && { opener: pool.opener }),
}).run({ resource: resourceName(folder, name), recipient: { ...(await ephemeralRecipient()), serial: undefined } });
await pipeline(opened.read(), createWriteStream(values.output, { highWaterMark: 4 * 1024 * 1024 }));
await pool?.close();
await client.close();
