import { open } from 'node:fs/promises';
import { parseArgs } from 'node:util';

/** A process of its own: the same packs as a plain parallel download with ranges, nothing opened or checked. */
const CONNECTIONS = 8;
const RANGE_BYTES = 3 * 1024 * 1024;
const { values } = parseArgs({
  options: { output: { type: 'string', default: '' }, packs: { type: 'string', default: '[]' } },
});
/** URL and size of each pack. */
const packs = JSON.parse(values.packs) as readonly (readonly [string, number])[];
const ranges = packs.flatMap(([url, sizeBytes]) =>
  Array.from({ length: Math.ceil(sizeBytes / RANGE_BYTES) }, (_, index) => ({
    url,
    start: index * RANGE_BYTES,
    end: Math.min(sizeBytes, (index + 1) * RANGE_BYTES),
  })),
);
const output = await open(values.output, 'w');
const pending = ranges.values();
let writtenAt = 0;
await Promise.all(
  Array.from({ length: CONNECTIONS }, async () => {
    for (const { url, start, end } of pending) {
      const at = writtenAt;
      writtenAt += end - start;
      const answer = await fetch(url, { headers: { range: `bytes=${start}-${end - 1}` } });
      if (answer.status !== 206) throw new Error(`${url}: status ${answer.status}`);
      await output.write(await answer.bytes(), 0, end - start, at);
    }
  }),
);
await output.close();
