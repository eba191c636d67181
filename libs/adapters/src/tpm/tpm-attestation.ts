import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import {
  type AttestedEnrolment,
  IdentityError,
  PCR_BYTES,
  type PcrSelection,
  pcrSelectionText,
  publicAreaOf,
  quoteBinding,
  type SignedTpmStatement,
  type TpmCredential,
  type TpmEvidence,
} from '@azaion/identity';
import { concatBytes, toHex, u32be } from '@azaion/kernel';

import { takeFile } from './tpm-files.js';
import type { TpmKeys } from './tpm-key-file.js';
import type { TpmTools } from './tpm-tools.js';

/** Where makers leave the endorsement key and its certificate (TCG EK Credential Profile 2.5, 2.2.1). */
const ENDORSEMENT_HANDLE = '0x81010001';
const CERTIFICATE_INDEX = '0x1c00002';
const ATTESTATION_ATTRIBUTES = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign|noda';
/** In front of a credential as the tpm2-tools read it: their magic number, then a version. */
const CREDENTIAL_HEADER = concatBytes(u32be(0xbadc_c0de), u32be(1));
const SEQUENCE_HEADER_BYTES = 4;

/**
 * Has the TPM state what its keys are, who made it and what it has booted into. Loaded contexts of the keys and of the storage key must stand in the
 * directory of the tools. The attestation key is made for this one enrolment.
 */
export async function makeEvidence(
  tools: TpmTools,
  keys: TpmKeys,
  pcrs: PcrSelection,
  enrolment: AttestedEnrolment,
): Promise<TpmEvidence> {
  const endorsement = await endorsementKey(tools);
  await tools.run('readpublic', ['-c', endorsement, '-f', 'tss', '-o', 'ek.pub']);
  await tools.tidy();
  const endorsementKeyArea = publicAreaOf(await takeFile(tools, 'ek.pub'));
  const attestationKeyArea = await createAttestationKey(tools);
  const agreementCertified = await certified(tools, 'agreement.ctx');
  const signingCertified = await certified(tools, 'signing.ctx');
  await tools.run('quote', [
    ...['-c', 'ak.ctx', '-g', 'sha256', '-l', pcrSelectionText(pcrs), '-q', toHex(quoteBinding(enrolment))],
    ...['-m', 'statement.bin', '-s', 'statement.sig'],
  ]);
  await tools.tidy();
  const quote = await statement(tools);
  await tools.run('pcrread', ['-o', 'pcrs.bin', pcrSelectionText(pcrs)]);
  const values = await takeFile(tools, 'pcrs.bin');
  return {
    endorsementKey: endorsementKeyArea,
    endorsementCertificate: await endorsementCertificate(tools),
    attestationKey: attestationKeyArea,
    agreementKey: publicAreaOf(keys.agreement.public),
    signingKey: publicAreaOf(keys.signing.public),
    agreementCertified,
    signingCertified,
    pcrs,
    pcrValues: pcrs.map((_, at) => values.subarray(at * PCR_BYTES, (at + 1) * PCR_BYTES)),
    quote,
  };
}

/**
 * Opens a credential: the TPM gives its secret out only when the endorsement key and the attestation key are both its own.
 *
 * @throws IdentityError `attestation.activation-failed` when the TPM refuses it.
 */
export async function openCredential(tools: TpmTools, credential: TpmCredential): Promise<Uint8Array> {
  const endorsement = await endorsementKey(tools);
  const bytes = concatBytes(CREDENTIAL_HEADER, credential.credentialBlob, credential.encryptedSecret);
  await writeFile(join(tools.directory, 'credential.bin'), bytes);
  const session = await tools.openSession();
  await tools.run('policysecret', ['-S', session, '-c', 'e']);
  try {
    await tools.run('activatecredential', [
      ...['-c', 'ak.ctx', '-C', endorsement, '-i', 'credential.bin', '-o', 'secret.bin', '-P', `session:${session}`],
    ]);
  } catch (error) {
    if (!(error instanceof IdentityError) || !/tpm-(?:failed|foreign)/.test(error.code)) throw error;
    throw new IdentityError(
      'attestation.activation-failed',
      'The TPM cannot open what the Admin API has sealed to it.',
      {
        cause: error,
      },
    );
  }
  await tools.tidy();
  return takeFile(tools, 'secret.bin');
}

/** The maker's key where it was left in the TPM; else made anew from the maker's seed, which gives the same key. */
async function endorsementKey(tools: TpmTools): Promise<string> {
  const handles = (await tools.run('getcap', ['handles-persistent'])).toLowerCase();
  if (handles.includes(ENDORSEMENT_HANDLE)) return ENDORSEMENT_HANDLE;
  await tools.run('createek', ['-G', 'rsa', '-c', 'ek.ctx']);
  await tools.tidy();
  return 'ek.ctx';
}

async function endorsementCertificate(tools: TpmTools): Promise<Uint8Array | undefined> {
  const indices = (await tools.run('getcap', ['handles-nv-index'])).toLowerCase();
  if (!indices.includes(CERTIFICATE_INDEX)) return undefined;
  await tools.run('nvread', ['-C', CERTIFICATE_INDEX, '-o', 'certificate.der', CERTIFICATE_INDEX]);
  return withoutPadding(await takeFile(tools, 'certificate.der'));
}

/** Makers reserve more room than the certificate takes. Its own header says how long it is (DER, two bytes of length). */
function withoutPadding(bytes: Uint8Array): Uint8Array {
  const [tag, form, high = 0, low = 0] = bytes;
  return tag === 0x30 && form === 0x82 ? bytes.subarray(0, SEQUENCE_HEADER_BYTES + high * 256 + low) : bytes;
}

async function createAttestationKey(tools: TpmTools): Promise<Uint8Array> {
  await tools.run('create', [
    ...['-C', 'primary.ctx', '-G', 'ecc256:ecdsa-sha256:null', '-g', 'sha256', '-a', ATTESTATION_ATTRIBUTES],
    ...['-u', 'ak.pub', '-r', 'ak.priv'],
  ]);
  await tools.tidy();
  await tools.run('load', ['-C', 'primary.ctx', '-u', 'ak.pub', '-r', 'ak.priv', '-c', 'ak.ctx']);
  await tools.tidy();
  await takeFile(tools, 'ak.priv');
  return publicAreaOf(await takeFile(tools, 'ak.pub'));
}

async function certified(tools: TpmTools, context: string): Promise<SignedTpmStatement> {
  await tools.run('certify', [
    '-c',
    context,
    '-C',
    'ak.ctx',
    '-g',
    'sha256',
    '-o',
    'statement.bin',
    '-s',
    'statement.sig',
  ]);
  await tools.tidy();
  return statement(tools);
}

async function statement(tools: TpmTools): Promise<SignedTpmStatement> {
  return { statement: await takeFile(tools, 'statement.bin'), signature: await takeFile(tools, 'statement.sig') };
}
