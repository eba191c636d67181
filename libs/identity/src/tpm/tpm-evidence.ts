import { hash } from 'node:crypto';

import { pointFromJwk, type PublicJwk, verifyRaw, jwkFromPoint } from '@azaion/crypto';
import { concatBytes, equalBytes, toHex, utf8 } from '@azaion/kernel';

import { IdentityError } from '../errors.js';
import { authorizedPolicyDigest, pcrDigestOf } from './boot-policy.js';
import type { EndorsementTrust } from './endorsement-trust.js';
import { PCR_BYTES, pcrSelectionBytes, type PcrSelection } from './pcr-selection.js';
import type { TpmCredential } from './make-credential.js';
import { TPM_ALG, TPMA_OBJECT } from './tpm-algorithms.js';
import { parseTpmStatement, type TpmStatement } from './tpm-attest.js';
import { parseTpmPublic, parseTpmSignature, type TpmPublic } from './tpm-public.js';

/** A statement with the signature over it, as the TPM gives them (`TPMS_ATTEST`, `TPMT_SIGNATURE`). */
export interface SignedTpmStatement {
  readonly statement: Uint8Array;
  readonly signature: Uint8Array;
}

/** What a device's TPM says about itself and about the device's keys. Public areas are `TPMT_PUBLIC`. */
export interface TpmEvidence {
  readonly endorsementKey: Uint8Array;
  /** DER; `undefined` where the maker left none. */
  readonly endorsementCertificate: Uint8Array | undefined;
  readonly attestationKey: Uint8Array;
  readonly agreementKey: Uint8Array;
  readonly signingKey: Uint8Array;
  readonly agreementCertified: SignedTpmStatement;
  readonly signingCertified: SignedTpmStatement;
  readonly pcrs: PcrSelection;
  /** Of the registers, in their order. */
  readonly pcrValues: readonly Uint8Array[];
  readonly quote: SignedTpmStatement;
}

/** A device identity that can show that its keys are a TPM's. */
export interface EvidenceSource {
  /**
   * What the TPM says about itself, the keys and its boot state, for one enrolment.
   *
   * @throws IdentityError `device.tpm-…`.
   */
  evidenceFor(enrolment: AttestedEnrolment): Promise<TpmEvidence>;
  /**
   * Opens the credential that the verifier made for the last evidence.
   *
   * @returns Its secret.
   * @throws IdentityError `attestation.activation-failed` | `device.tpm-…`.
   */
  activate(credential: TpmCredential): Promise<Uint8Array>;
}

/** Whether an identity can show evidence. */
export function isEvidenceSource(identity: object): identity is EvidenceSource {
  return 'evidenceFor' in identity && 'activate' in identity;
}

/** What the keys and the enrolment are that evidence must be about. */
export interface AttestedEnrolment {
  readonly serial: string;
  readonly nonce: Uint8Array;
  readonly signingKey: PublicJwk;
  /** 65-byte point. */
  readonly agreementKey: Uint8Array;
}

/** What the fleet demands. */
export interface AttestationRules {
  readonly endorsement: EndorsementTrust;
  /** Registers that must be quoted; more may be. */
  readonly pcrs: PcrSelection;
  /** Digests of boot states in hexadecimal that may enrol; `undefined` accepts whatever a device starts with. */
  readonly allowedPcrDigests: ReadonlySet<string> | undefined;
  /** Who must decide over the use of the devices' keys; `undefined` accepts every policy. */
  readonly policies: { readonly key: PublicJwk; readonly models: readonly string[] } | undefined;
}

/** What evidence has shown, but for one thing: that the attestation key lies in the TPM of the endorsement key. Activation shows that. */
export interface CheckedEvidence {
  readonly endorsement: TpmPublic;
  readonly attestation: TpmPublic;
  readonly pcrs: PcrSelection;
  /** Of the registers, in their order. */
  readonly pcrValues: readonly Uint8Array[];
  /** SHA-256 over the values of the registers. */
  readonly pcrDigest: Uint8Array;
}

const LABEL = utf8('azaion-quote-v1\0');
const { fixedTpm, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, decrypt, sign, encryptedDuplication } =
  TPMA_OBJECT;
const RESIDENT = fixedTpm | fixedParent | sensitiveDataOrigin;
const PURPOSE = restricted | decrypt | sign;

/** What a quote is bound to: the enrolment's nonce, the device, and both its keys. */
export function quoteBinding({ serial, nonce, signingKey, agreementKey }: AttestedEnrolment): Uint8Array {
  return hash(
    'sha256',
    concatBytes(LABEL, nonce, utf8(`${serial}\0`), agreementKey, pointFromJwk(signingKey)),
    'buffer',
  );
}

/**
 * Checks a TPM's evidence: that its endorsement key is a maker's, that the keys of the device were made in a TPM, cannot leave it and work only by
 * policy, and that it has booted into an accepted state just now. Source: docs/threat-model.md, "Attestation".
 *
 * @param evidence - Untrusted.
 * @throws IdentityError `attestation.malformed` | `attestation.ek-untrusted` | `attestation.ek-expired` | `attestation.key-attributes` (a key that could
 *   leave the TPM, do something else, or be used without policy) | `attestation.foreign-key` (not the keys that enrol, or not certified by this
 *   attestation key) | `attestation.wrong-nonce` | `attestation.pcr-refused`.
 */
export function checkEvidence(
  evidence: TpmEvidence,
  enrolment: AttestedEnrolment,
  rules: AttestationRules,
  nowMs: number,
): CheckedEvidence {
  const endorsement = parseTpmPublic(evidence.endorsementKey);
  const attestation = parseTpmPublic(evidence.attestationKey);
  demandPurpose(endorsement, restricted | decrypt);
  demandPurpose(attestation, restricted | sign);
  rules.endorsement.check(endorsement, evidence.endorsementCertificate, nowMs);
  const keyOfStatements = ecdsaKey(attestation);
  checkDeviceKey(evidence.agreementKey, evidence.agreementCertified, keyOfStatements, {
    purpose: decrypt,
    point: enrolment.agreementKey,
    rules,
  });
  checkDeviceKey(evidence.signingKey, evidence.signingCertified, keyOfStatements, {
    purpose: sign,
    point: pointFromJwk(enrolment.signingKey),
    rules,
  });
  const pcrDigest = checkQuote(evidence, enrolment, keyOfStatements, rules);
  return { endorsement, attestation, pcrs: evidence.pcrs, pcrValues: evidence.pcrValues, pcrDigest };
}

function checkDeviceKey(
  area: Uint8Array,
  certified: SignedTpmStatement,
  attestationKey: PublicJwk,
  expected: { readonly purpose: number; readonly point: Uint8Array; readonly rules: AttestationRules },
): void {
  const key = parseTpmPublic(area);
  demandPurpose(key, expected.purpose);
  if ((key.attributes & userWithAuth) !== 0 || key.authPolicy.length === 0)
    throw badAttributes('may be used without its policy');
  const { policies } = expected.rules;
  const isOurs = policies?.models.some((model) =>
    equalBytes(key.authPolicy, authorizedPolicyDigest(policies.key, model)),
  );
  if (isOurs === false) throw badAttributes("does not obey the fleet's boot policies");
  if (key.key.kind !== 'ecc' || !equalBytes(key.key.point, expected.point))
    throw foreignKey('The evidence is about other keys than those that enrol.');
  const { attested } = verified(certified, attestationKey);
  if (attested.kind !== 'certify' || !equalBytes(attested.name, key.name))
    throw foreignKey('The TPM has certified another key.');
}

function checkQuote(
  { pcrs, pcrValues, quote }: TpmEvidence,
  enrolment: AttestedEnrolment,
  attestationKey: PublicJwk,
  rules: AttestationRules,
): Uint8Array {
  const { attested, extraData } = verified(quote, attestationKey);
  if (attested.kind !== 'quote') throw foreignKey('The TPM has signed something else than a quote.');
  if (!equalBytes(extraData, quoteBinding(enrolment)))
    throw new IdentityError('attestation.wrong-nonce', 'The quote was made for another enrolment: start again.');
  const digest = pcrDigestOf(pcrValues);
  const isWhole =
    pcrValues.length === pcrs.length &&
    pcrValues.every((value) => value.length === PCR_BYTES) &&
    equalBytes(attested.pcrSelection, pcrSelectionBytes(pcrs)) &&
    equalBytes(attested.pcrDigest, digest);
  if (!isWhole) throw pcrRefused('The registers are not those that the TPM has quoted.');
  if (!rules.pcrs.every((pcr) => pcrs.includes(pcr)))
    throw pcrRefused('The quote leaves out registers that are required.');
  if (rules.allowedPcrDigests?.has(toHex(digest)) === false)
    throw pcrRefused('This device has not booted into a state that is accepted.');
  return digest;
}

function verified({ statement, signature }: SignedTpmStatement, key: PublicJwk): TpmStatement {
  const parsed = parseTpmStatement(statement);
  if (!verifyRaw(key, statement, parseTpmSignature(signature)))
    throw foreignKey('A statement was not signed by the attestation key.');
  return parsed;
}

function demandPurpose({ attributes }: TpmPublic, purpose: number): void {
  if ((attributes & RESIDENT) !== RESIDENT || (attributes & encryptedDuplication) !== 0)
    throw badAttributes('could leave its TPM, or was not made in it');
  if ((attributes & PURPOSE) !== purpose) throw badAttributes('is for another purpose');
}

function ecdsaKey({ key }: TpmPublic): PublicJwk {
  if (key.kind !== 'ecc' || key.scheme !== TPM_ALG.ecdsa) throw badAttributes('is not for ECDSA on P-256');
  return jwkFromPoint(key.point);
}

function badAttributes(why: string): IdentityError {
  return new IdentityError('attestation.key-attributes', `A key of the TPM ${why}.`);
}

function foreignKey(message: string): IdentityError {
  return new IdentityError('attestation.foreign-key', message);
}

function pcrRefused(message: string): IdentityError {
  return new IdentityError('attestation.pcr-refused', message);
}
