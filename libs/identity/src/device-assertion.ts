import { randomUUID } from 'node:crypto';

import { type PublicJwk, verifyRaw } from '@azaion/crypto';
import { type Clock, fromBase64Url, isValidName, toBase64Url, utf8 } from '@azaion/kernel';

import type { DeviceIdentity } from './device-identity.js';
import { IdentityError } from './errors.js';

/** Longest life of an assertion. */
export const MAX_ASSERTION_SECONDS = 60;
/** How far a device's clock may be off. */
export const ASSERTION_TOLERANCE_SECONDS = 30;
const MAX_ASSERTION_CHARS = 4096;
const JTI = /^[\x21-\x7e]{1,128}$/; // it is stored: nothing that a database refuses

/** An assertion whose form and times are acceptable. */
export interface DeviceAssertion {
  readonly serial: string;
  /** Must be accepted once only, until {@link rememberUntilSeconds}. */
  readonly jti: string;
  /** Seconds since 1970 after which the assertion is refused for its age, so that its `jti` may be forgotten. */
  readonly rememberUntilSeconds: number;
}

/**
 * Signs an assertion with which an enrolled device logs in (RFC 7523 §3).
 *
 * @param audience - The Admin API's audience.
 * @throws IdentityError `device.key-store`.
 */
export async function signDeviceAssertion(
  identity: DeviceIdentity,
  serial: string,
  audience: string,
  clock: Clock,
): Promise<string> {
  const issuedAt = Math.floor(clock.nowMs() / 1000);
  const claims = {
    iss: serial,
    sub: serial,
    aud: audience,
    jti: randomUUID(),
    iat: issuedAt,
    exp: issuedAt + MAX_ASSERTION_SECONDS,
  };
  const input = `${encoded({ alg: 'ES256', typ: 'JWT' })}.${encoded(claims)}`;
  return `${input}.${toBase64Url(await identity.sign(utf8(input)))}`;
}

/**
 * Reads an assertion: header rules and the claims of RFC 7523 §3. Its signature is still unchecked, so nothing in it is true yet; it says
 * whose key to ask for.
 *
 * @param assertion - Untrusted text.
 * @throws IdentityError `login.wrong-credentials`, whatever was wrong.
 */
export function readDeviceAssertion(assertion: string, audience: string, clock: Clock): DeviceAssertion {
  const [encodedHeader, encodedClaims] = parts(assertion);
  const header = membersOf(encodedHeader);
  if (Object.keys(header).sort().join() !== 'alg,typ' || header['alg'] !== 'ES256' || header['typ'] !== 'JWT')
    throw refused();
  const { iss, sub, aud, jti, iat, exp } = membersOf(encodedClaims);
  if (!isValidName(iss) || sub !== iss || aud !== audience) throw refused();
  if (typeof jti !== 'string' || !JTI.test(jti)) throw refused();
  if (!Number.isSafeInteger(iat) || !Number.isSafeInteger(exp)) throw refused();
  const [issuedAt, expiresAt] = [iat as number, exp as number];
  const nowSeconds = clock.nowMs() / 1000;
  const acceptable =
    expiresAt > issuedAt &&
    expiresAt - issuedAt <= MAX_ASSERTION_SECONDS &&
    issuedAt <= nowSeconds + ASSERTION_TOLERANCE_SECONDS &&
    expiresAt > nowSeconds - ASSERTION_TOLERANCE_SECONDS;
  if (!acceptable) throw refused();
  return { serial: iss, jti, rememberUntilSeconds: expiresAt + ASSERTION_TOLERANCE_SECONDS };
}

/**
 * Verifies an assertion with the key its serial is enrolled with. The caller still has to accept its `jti` only once.
 *
 * @param assertion - Untrusted text.
 * @param signingKey - The enrolled key of the serial that {@link readDeviceAssertion} named.
 * @throws IdentityError `login.wrong-credentials`, whatever was wrong.
 */
export function verifyDeviceAssertion(
  assertion: string,
  signingKey: PublicJwk,
  audience: string,
  clock: Clock,
): DeviceAssertion {
  const read = readDeviceAssertion(assertion, audience, clock);
  const [header, claims, signature] = parts(assertion);
  const bytes = fromBase64Url(signature, 64);
  if (bytes === undefined || !verifyRaw(signingKey, utf8(`${header}.${claims}`), bytes)) throw refused();
  return read;
}

function parts(assertion: string): [header: string, claims: string, signature: string] {
  const found = assertion.length > MAX_ASSERTION_CHARS ? [] : assertion.split('.');
  if (found.length !== 3) throw refused();
  return found as [string, string, string];
}

/** The members of a JSON object; none where the part is something else. */
function membersOf(part: string): Record<string, unknown> {
  const bytes = fromBase64Url(part, MAX_ASSERTION_CHARS);
  try {
    return { ...(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as object) };
  } catch {
    return {};
  }
}

function encoded(value: object): string {
  return toBase64Url(utf8(JSON.stringify(value)));
}

function refused(): IdentityError {
  return new IdentityError('login.wrong-credentials', 'The device could not be logged in.');
}
