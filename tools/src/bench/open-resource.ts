import { open } from 'node:fs/promises';
import { parseArgs } from 'node:util';

import { OpenPlaintextFile } from '@azaion/adapters/file-store';

import { localPacks, openLocally } from './local-opener.js';

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
const { opened, close } = await openLocally({
  apiUrl: values.api,
  token: values.token,
  workDirectory: values.work,
  resource: values.resource,
  threads: Number(values.threads),
  sources: localPacks(values.packs),
});
const file = await open(values.output, 'w');
await opened.writeTo(new OpenPlaintextFile(file));
await file.close();
await close();
