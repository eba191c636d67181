import { generateP256KeyPair, type P256KeyPair } from '@azaion/crypto';
import { toHex } from '@azaion/kernel';
import fc from 'fast-check';

import {
  bootPoliciesToJson,
  bootPolicyDigest,
  type BootState,
  isEpoch,
  isSignedBootPolicy,
  MAX_BOOT_POLICIES,
  MAX_EPOCH,
  parseBootPolicies,
  pcrDigestOf,
  policyReference,
  signBootPolicy,
} from './boot-policy.js';
import { parsePcrSelection, pcrSelectionText } from './pcr-selection.js';
import { SENTENCE } from '../testing/sentence.js';

const zero = new Uint8Array(32);
const state: BootState = {
  model: 'carrier-a',
  epoch: 5,
  pcrs: [0, 2, 4, 7],
  pcrDigest: pcrDigestOf([zero, zero, zero, zero]),
};
const REFUSED = expect.objectContaining({ code: 'device.tpm-policy', message: SENTENCE }) as Error;

describe('bootPolicyDigest', () => {
  // Calculated by swtpm 0.7.1 in a trial session: policypcr sha256:0,2,4,7 with zero registers, policynv "at most 5" on the counter.
  it('is what a TPM calculates', () => {
    expect(toHex(bootPolicyDigest(state))).toBe('0338eeff19fd6ca08fdcb49b84608a1f8f1ae27f3f57c3aba2816b99b791cacb');
  });

  it('differs with registers, their values and the epoch', () => {
    const others = [{ epoch: 6 }, { pcrs: [0, 2, 4, 6] }, { pcrs: [0, 2, 4] }, { pcrDigest: zero }];
    const digests = [state, ...others.map((change) => ({ ...state, ...change }))].map((one) =>
      toHex(bootPolicyDigest(one)),
    );
    expect(new Set(digests).size).toBe(digests.length);
  });
});

describe('policyReference', () => {
  // Every device's keys are bound to it. Calculated with another implementation (Python's hashlib).
  it('is SHA-256 of the label and the model', () => {
    expect(toHex(policyReference('carrier-a'))).toBe(
      'a868e0d0df6766281868d75f4f8e7ae26b349584a3349086ac65b993170eac1f',
    );
  });
});

describe('a signed boot policy', () => {
  let key: P256KeyPair;
  beforeAll(async () => {
    key = await generateP256KeyPair();
  });

  it('survives its file, and its signature holds for it alone', async () => {
    const policy = signBootPolicy(state, key.privateJwk);
    const [read] = parseBootPolicies(bootPoliciesToJson([policy]));
    expect(read).toEqual(policy);
    expect(isSignedBootPolicy(read!, key.publicJwk)).toBe(true);
    expect(isSignedBootPolicy(read!, (await generateP256KeyPair()).publicJwk)).toBe(false);
    for (const change of [{ model: 'carrier-b' }, { epoch: 6 }, { pcrs: [0] }, { pcrDigest: zero }])
      expect(isSignedBootPolicy({ ...read!, ...change }, key.publicJwk)).toBe(false);
  });

  it('is refused in a file when any member is missing or of another form', () => {
    const whole = bootPoliciesToJson([signBootPolicy(state, key.privateJwk)]);
    const { bootPolicies } = JSON.parse(whole) as { bootPolicies: [Record<string, unknown>] };
    const [entry] = bootPolicies;
    for (const member of Object.keys(entry))
      for (const value of [undefined, null, '', -1, 0, 1.5, MAX_EPOCH + 1, 'no/such', [], {}])
        expect(() => parseBootPolicies(JSON.stringify({ bootPolicies: [{ ...entry, [member]: value }] }))).toThrow(
          REFUSED,
        );
    const many = { bootPolicies: Array.from({ length: MAX_BOOT_POLICIES + 1 }, () => entry) };
    for (const text of ['', 'null', '[]', '{}', '{"bootPolicies":{}}', '{"bootPolicies":[null]}', JSON.stringify(many)])
      expect(() => parseBootPolicies(text)).toThrow(REFUSED);
  });

  it('is read or refused, whatever the file says', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        try {
          expect(Array.isArray(parseBootPolicies(text))).toBe(true);
        } catch (error) {
          expect(error).toEqual(REFUSED);
        }
      }),
    );
  });
});

describe('isEpoch', () => {
  it.each([1, MAX_EPOCH])('accepts %i', (epoch) => expect(isEpoch(epoch)).toBe(true));
  it.each([0, -1, 1.5, MAX_EPOCH + 1, Infinity, NaN, '1', null])('refuses %p', (epoch) =>
    expect(isEpoch(epoch)).toBe(false),
  );
});

describe('parsePcrSelection', () => {
  const ALL = Array.from({ length: 24 }, (_, pcr) => pcr);
  it.each([
    ['sha256:0,2,4,7', [0, 2, 4, 7]],
    ['sha256:7,0', [0, 7]],
    ['sha256:23', [23]],
    ['sha256:0,10,23', [0, 10, 23]],
    [`sha256:${ALL.join(',')}`, ALL],
  ])('reads %s', (text, pcrs) => {
    expect(parsePcrSelection(text)).toEqual(pcrs);
    expect(pcrSelectionText(pcrs)).toBe(`sha256:${pcrs.join(',')}`);
  });

  it.each([
    '',
    'sha256:',
    'sha1:0',
    'sha256:24',
    'sha256:0,0',
    'sha256:0,',
    'sha256:0+sha1:0',
    '0,2',
    'sha256:-1',
    ' sha256:0',
    'sha256:0 ',
  ])('refuses %p', (text) => expect(parsePcrSelection(text)).toBeUndefined());
});
