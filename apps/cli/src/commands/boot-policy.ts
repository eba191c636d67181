import { readFile, writeFile } from 'node:fs/promises';

import { inspectTpm } from '@azaion/adapters/tpm';
import {
  bootPoliciesToJson,
  isEpoch,
  isSignedBootPolicy,
  parseBootPolicies,
  pcrSelectionText,
  signBootPolicy,
  type SignedBootPolicy,
} from '@azaion/identity';
import { isValidName, toHex } from '@azaion/kernel';

import { usageFailure } from '../cli-failure.js';
import type { CommandContext } from '../command-context.js';
import { systemErrorCode } from '../failure-table.js';
import { pcrsOf, thisDevice } from '../this-device.js';
import { readPrivateKeyFile } from './keys.js';

const TPM_TIMEOUT_MS = 30_000;
const DIGEST = /^[0-9a-f]{64}$/;

/** Options of `azaion device sign-boot-policy`. */
export interface SignBootPolicyOptions {
  readonly key: string;
  readonly passphraseFile?: string;
  readonly model: string;
  readonly epoch: string;
  readonly pcrs: string;
  readonly pcrDigest: string;
  readonly output: string;
}

/** `azaion device boot-state`: what this machine has booted into, for who signs policies. */
export async function showBootState(context: CommandContext): Promise<void> {
  const { identity, pcrs } = thisDevice(context.env);
  const { pcrDigest, zeroPcrs } = await inspectTpm({ tcti: identity.tpmTcti, timeoutMs: TPM_TIMEOUT_MS }, pcrs);
  const facts = { pcrs: pcrSelectionText(pcrs), pcrDigest: toHex(pcrDigest), zeroPcrs };
  context.output.result(facts, [
    `Registers ${facts.pcrs}`,
    `  digest: ${facts.pcrDigest}`,
    ...(zeroPcrs.length === 0 ? [] : [`  nothing was measured into ${zeroPcrs.join(', ')}: they protect nothing`]),
  ]);
}

/** `azaion device sign-boot-policy`: permits the keys of one model's devices in one more boot state. */
export async function signPolicy(context: CommandContext, options: SignBootPolicyOptions): Promise<void> {
  const { model, output } = options;
  const epoch = Number(options.epoch);
  const pcrDigest = options.pcrDigest.toLowerCase();
  if (!isValidName(model)) throw usageFailure('--model must be a name: letters, digits, ".", "_" and "-".');
  if (!isEpoch(epoch)) throw usageFailure('--epoch must be a whole number from 1.');
  if (!DIGEST.test(pcrDigest))
    throw usageFailure('--pcr-digest must be 64 hexadecimal digits, as "azaion device boot-state" prints.');
  const pcrs = pcrsOf(options.pcrs, '--pcrs');
  const key = (await readPrivateKeyFile(context, options.key, options.passphraseFile)).key.reveal();
  const policy = signBootPolicy({ model, epoch, pcrs, pcrDigest: Buffer.from(pcrDigest, 'hex') }, key);
  const before = await policiesIn(output);
  const { kty, crv, x, y } = key;
  if (before.some((one) => !isSignedBootPolicy(one, { kty, crv, x, y })))
    throw usageFailure(`${output} holds policies of another key.`, 'Name another file, or sign with that key.');
  await writeFile(output, `${bootPoliciesToJson([...before, policy])}\n`);
  const count = before.length + 1;
  context.output.result({ model, epoch, pcrs: options.pcrs, pcrDigest, policies: count }, [
    `Signed: devices of the model ${model} may use their keys in this state from epoch ${String(epoch)} on.`,
    `${output} holds ${String(count)} ${count === 1 ? 'policy' : 'policies'}: it is TPM_POLICY_FILE of the devices.`,
  ]);
}

async function policiesIn(path: string): Promise<readonly SignedBootPolicy[]> {
  try {
    return parseBootPolicies(await readFile(path, 'utf8'));
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw error;
  }
}
