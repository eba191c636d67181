import { access } from 'node:fs/promises';
import { join } from 'node:path';

import { connectToEmbeddedDatabase, gatherEvidence } from '@azaion/adapters/split-evidence';
import { proveSplit, type SplitProof, type SplitTrial } from '@azaion/split-resource/adversary';

import { usageFailure } from '../cli-failure.js';
import { type CommandContext } from '../command-context.js';
import { failure } from '../failure-table.js';
import { formatBytes } from '../format.js';
import { parseResourceReference } from '../resource-reference.js';

/** Plaintext that is held in memory for the search. */
const MAX_PLAINTEXT_BYTES = 512 * 1024 ** 2;

/** Options of `azaion prove-split`. */
export interface ProveSplitOptions {
  readonly data: string;
  readonly kek?: string;
  readonly resource?: readonly string[];
}

/**
 * Plays everybody who gets hold of one of the stores of an installation: searches every stored byte for the plaintext and tries every stored
 * key, then shows that the same search does find what can be found: in the older format, and with both stores and the KEK.
 *
 * @throws CliFailure exit `integrity` when an attack recovered something, or a control did not.
 */
export async function proveSplitOf(context: CommandContext, options: ProveSplitOptions): Promise<void> {
  const { data } = options;
  const stores = { objects: join(data, 'objects'), kek: options.kek ?? join(data, 'keys', 'kek') };
  for (const path of Object.values(stores))
    await access(path).catch(() => {
      throw usageFailure(
        `${data} is not the data directory of an Admin API with stores of its own.`,
        'Give --data, the ADMIN_DATA_DIR of a running Admin API with embedded database and file store, and --kek where ADMIN_KEK_FILE is set.',
      );
    });
  const wanted = new Set(
    (options.resource ?? []).map((text) => {
      const { folder, name } = parseResourceReference(text);
      return `${folder}/${name}`;
    }),
  );
  const client = await connectToEmbeddedDatabase(data).catch((cause: unknown) => {
    throw failure('network', 'prove-split.no-database', 'The database does not answer.', 'Start the Admin API.', cause);
  });
  let heldBytes = 0;
  let proof: SplitProof;
  try {
    const evidence = await gatherEvidence({ client, ...stores }, (resource, _version, totalBytes) => {
      if ((wanted.size > 0 && !wanted.has(resource)) || heldBytes + totalBytes > MAX_PLAINTEXT_BYTES) return false;
      heldBytes += totalBytes;
      return true;
    });
    if (evidence.opened.length === 0)
      throw usageFailure(
        'There is nothing published to attack.',
        'Publish something first, or name another --resource.',
      );
    context.output.note(`Attacking ${evidence.opened.length} versions, ${formatBytes(heldBytes)} of plaintext …`);
    proof = await proveSplit(evidence);
  } finally {
    await client.end();
  }
  const facts = { windows: proof.windows, surelyFoundBytes: proof.surelyFoundBytes, trials: proof.trials };
  if (!proof.ok)
    throw failure(
      'integrity',
      'prove-split.failed',
      `The proof failed: ${proof.trials
        .filter(({ ok }) => !ok)
        .map(({ name, detail }) => `${name}: ${detail}`)
        .join('; ')}.`,
      'Take the installation out of use until it is known why.',
    );
  context.output.result(facts, [...table(proof), '', 'The split holds: neither store alone gives anything away.']);
}

/** Who has what, and what that gives away in either format. */
function table({ trials, windows, surelyFoundBytes }: SplitProof): string[] {
  const [legacy, everything] = trials.filter(({ kind }) => kind === 'control');
  const attacks = trials.filter(({ kind }) => kind === 'attack');
  const rows = [
    ['who has', 'older format', 'sealed format', 'searched'],
    ...attacks.map((trial, index) => [
      trial.name,
      index === 0 ? (legacy?.detail ?? '') : '–',
      trial.detail,
      effort(trial),
    ]),
    ['both stores and the KEK', '–', everything?.detail ?? '', everything === undefined ? '' : effort(everything)],
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd();
  const [head = [], ...body] = rows;
  return [
    `${windows.toLocaleString('en')} pieces of plaintext were searched for; every run of ${surelyFoundBytes} bytes is found.`,
    '',
    line(head),
    widths.map((width) => '-'.repeat(width)).join('  '),
    ...body.map(line),
  ];
}

function effort({ bytesSearched, keyTrials }: SplitTrial): string {
  const tried = keyTrials > 1 ? `${keyTrials.toLocaleString('en')} key trials` : '';
  return [bytesSearched > 0 ? formatBytes(bytesSearched) : '', tried].filter((part) => part !== '').join(', ');
}
