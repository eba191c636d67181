import { parseArgs } from 'node:util';

import { localPacks, openLocally } from './local-opener.js';

/** A process of its own: how long the first plaintext byte of a resource takes whose packs are on this machine and whose recipe key is open. */
const { values } = parseArgs({
  options: {
    api: { type: 'string', default: '' },
    token: { type: 'string', default: '' },
    packs: { type: 'string', default: '' },
    work: { type: 'string', default: '' },
    resource: { type: 'string', default: '' },
  },
});
const ROUNDS = 5;
const milliseconds: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  // Each round anew: nothing of the recipe is in memory yet.
  const { opened, close } = await openLocally({
    apiUrl: values.api,
    token: values.token,
    workDirectory: values.work,
    resource: values.resource,
    threads: 0,
    sources: localPacks(values.packs),
  });
  const { totalBytes } = opened.statement;
  const start = Math.floor((totalBytes * (round + 1)) / (ROUNDS + 2));
  const begin = performance.now();
  const reading = opened.read({ start, end: totalBytes })[Symbol.asyncIterator]();
  await reading.next();
  milliseconds.push(performance.now() - begin);
  await reading.return?.();
  await close();
}
console.log(JSON.stringify(milliseconds));
