import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { ApiClient, enrolDevice, type EnrolmentApi, HttpAuthApi } from '@azaion/adapters/resource-api';
import { TpmDeviceIdentity } from '@azaion/adapters/tpm';
import { type DeviceIdentity, EndorsementTrust, pcrDigestOf, proveEnrolment, type TpmEvidence } from '@azaion/identity';
import { InMemoryDeviceIdentity } from '@azaion/identity/testing';
import { Secret, toHex } from '@azaion/kernel';
import {
  describeWith,
  type SoftwareTpm,
  startSoftwareTpm,
  type TempDirectory,
  tempDirectory,
  testTpmAuthority,
  type TestTpmAuthority,
} from '@azaion/testing';

import { keepReference, type Registers } from '../devices/reference-boot-state.js';
import { type StartedApi, startApi } from '../testing/started-api.js';

interface Account {
  readonly serial: string;
  readonly email: string;
  readonly password: Secret<string>;
}

describeWith('tpm', 'an enrolment with evidence of a TPM', () => {
  let api: StartedApi;
  let auth: HttpAuthApi;
  let client: ApiClient;
  let authority: TestTpmAuthority;
  let tpm: SoftwareTpm;
  let directory: TempDirectory;
  let identity: TpmDeviceIdentity;
  let made = 0;

  beforeAll(async () => {
    directory = await tempDirectory();
    authority = await testTpmAuthority();
    tpm = await startSoftwareTpm({ endorsement: authority });
    const roots = join(directory.path, 'roots.pem');
    const pem = await Promise.all(authority.certificateFiles.map((file) => readFile(file, 'utf8')));
    await writeFile(roots, pem.join('\n'));
    api = await startApi({ TPM_EK_ROOTS_FILE: roots });
    client = new ApiClient({ baseUrl: api.url });
    auth = new HttpAuthApi(client);
    identity = await identityIn(tpm);
  }, 120_000);
  afterAll(async () => {
    await identity.close();
    await client.close();
    await api.stop();
    await tpm.remove();
    await authority.remove();
    await directory.remove();
  });

  const identityIn = (its: SoftwareTpm): Promise<TpmDeviceIdentity> =>
    TpmDeviceIdentity.open({
      tcti: its.tcti,
      timeoutMs: 20_000,
      directory: join(directory.path, String(made++)),
      pcrs: [0, 2, 4, 7],
      fleet: undefined,
      log: () => undefined,
    });
  const account = async (): Promise<Account> => {
    const answer = await api.call('POST', '/devices', { token: api.administrator.token, body: {} });
    const { Serial, Email, Password } = answer.json as Record<'Serial' | 'Email' | 'Password', string>;
    return { serial: Serial, email: Email, password: new Secret(Password) };
  };
  const reset = async (serial: string, body?: { readonly newBootState: boolean }): Promise<void> => {
    const { status } = await api.call('POST', `/devices/${serial}/reset`, {
      token: api.administrator.token,
      ...(body && { body }),
    });
    expect(status).toBe(204);
  };
  const stored = (serial: string): Promise<{ readonly status: string; readonly attested_at: Date | null }> =>
    api.infrastructure.database.queries
      .selectFrom('devices')
      .select(['status', 'attested_at'])
      .where('serial', '=', serial)
      .executeTakeFirstOrThrow();
  /** The client that keeps the rules, but for what an attacker changes. */
  const enrol = (
    { serial, email, password }: Account,
    as: DeviceIdentity,
    attack: Partial<EnrolmentApi> = {},
  ): Promise<unknown> =>
    enrolDevice(
      {
        enrolmentChallenge: (...args) => auth.enrolmentChallenge(...args),
        enrol: (...args) => auth.enrol(...args),
        activateEnrolment: (...args) => auth.activateEnrolment(...args),
        ...attack,
      },
      as,
      { serial, email, password },
    );
  const withEvidence = (change: (evidence: TpmEvidence) => TpmEvidence): Partial<EnrolmentApi> => ({
    enrol: (serial, proof, evidence) => auth.enrol(serial, proof, evidence && change(evidence)),
  });
  const refused = (code: string): object => ({ code: `attestation.${code}` });

  it('attests the device, in the audit too, until it is reset', async () => {
    const device = await account();
    expect(await enrol(device, identity)).toEqual({ attested: true, whyNot: undefined });
    expect(await stored(device.serial)).toMatchObject({ status: 'enrolled', attested_at: expect.any(Date) as Date });
    await expect(enrol(device, identity)).rejects.toMatchObject({ code: 'device.already-enrolled' });
    const events = await api.infrastructure.database.queries
      .selectFrom('audit_events')
      .select(['event', 'details'])
      .where('subject', '=', device.serial)
      .execute();
    expect(events).toContainEqual({ event: 'device.enrolled', details: { attested: true } });
    await reset(device.serial);
    expect(await stored(device.serial)).toEqual({ status: 'registered', attested_at: null });
    expect(await enrol(device, identity)).toMatchObject({ attested: true });
    await reset(device.serial);
  });

  it('shows administrators what the TPM has proven, while that holds', async () => {
    const device = await account();
    const shown = async (): Promise<unknown> =>
      (
        (await api.call('GET', `/devices/${device.serial}`, { token: api.administrator.token })).json as Record<
          string,
          unknown
        >
      )['attestation'];
    expect(await shown()).toBeUndefined();
    await enrol(device, identity);
    expect(await shown()).toEqual({
      attestedAt: expect.any(String) as string,
      endorsementName: expect.stringMatching(/^000b[0-9a-f]{64}$/) as string,
      pcrs: 'sha256:0,2,4,7',
      pcrDigest: toHex(pcrDigestOf([0, 2, 4, 7].map(() => new Uint8Array(32)))),
    });
    await reset(device.serial);
    expect(await shown()).toBeUndefined();
  });

  describe('by the policy accept-first', () => {
    it('holds a device to the boot state that it was first attested in, over resets, until one says otherwise', async () => {
      const device = await account();
      const refusal = { event: 'device.attestation-refused', details: { code: 'attestation.pcr-refused' } };
      expect(await enrol(device, identity)).toMatchObject({ attested: true });
      await reset(device.serial);
      await tpm.extendPcr(7); // other firmware
      const changed = await identityIn(tpm);
      try {
        await expect(enrol(device, changed)).rejects.toMatchObject(refused('pcr-refused'));
        expect(await stored(device.serial)).toEqual({ status: 'registered', attested_at: null });
        await reset(device.serial);
        await expect(enrol(device, changed)).rejects.toMatchObject(refused('pcr-refused'));
        await reset(device.serial, { newBootState: true });
        expect(await enrol(device, changed)).toMatchObject({ attested: true });
      } finally {
        await changed.close();
        await tpm.restart();
      }
      await reset(device.serial);
      await expect(enrol(device, identity)).rejects.toMatchObject(refused('pcr-refused')); // the old firmware
      const events = await api.infrastructure.database.queries
        .selectFrom('audit_events')
        .select(['event', 'details'])
        .where('subject', '=', device.serial)
        .where('event', '!=', 'device.enrolled')
        .orderBy('id')
        .execute();
      const resetWith = (newBootState: boolean): object => ({ event: 'device.reset', details: { newBootState } });
      expect(events.filter(({ event }) => event !== 'device.registered')).toEqual([
        resetWith(false),
        refusal,
        resetWith(false),
        refusal,
        resetWith(true),
        resetWith(false),
        refusal,
      ]);
    });

    it('compares what is required and known, for the TPM that it was recorded for', async () => {
      const { serial } = await account();
      const { queries } = api.infrastructure.database;
      const { id } = await queries
        .selectFrom('devices')
        .select('id')
        .where('serial', '=', serial)
        .executeTakeFirstOrThrow();
      const keep = (
        registers: Registers,
        { pcrs = [0, 7], its = 'a', allowed }: { pcrs?: number[]; its?: string; allowed?: ReadonlySet<string> } = {},
      ): Promise<void> =>
        keepReference(
          queries,
          { deviceId: id, endorsementName: Buffer.from(its), registers },
          { endorsement: EndorsementTrust.of('', ''), pcrs, allowedPcrDigests: allowed, policies: undefined },
          new Date(),
        );
      await keep({ 0: 'aa', 7: 'bb', 9: 'cc' });
      await keep({ 0: 'aa', 7: 'bb', 9: 'changed, and not required' });
      await keep({ 0: 'aa', 7: 'bb', 8: 'dd' }, { pcrs: [0, 7, 8] }); // required from now on
      await expect(keep({ 0: 'aa', 7: 'bb', 8: 'ee' }, { pcrs: [0, 7, 8] })).rejects.toMatchObject(
        refused('pcr-refused'),
      );
      await expect(keep({ 0: 'aa' })).rejects.toMatchObject(refused('pcr-refused'));
      await keep({ 0: 'ff', 7: 'ff' }, { allowed: new Set() }); // the list has decided
      await expect(keep({ 0: 'aa', 7: 'bb' })).rejects.toMatchObject(refused('pcr-refused'));
      await keep({ 0: '11', 7: '22' }, { its: 'another TPM' });
    });
  });

  it('takes a device without a TPM in, not attested', async () => {
    const device = await account();
    const software = await InMemoryDeviceIdentity.create();
    expect(await enrol(device, software)).toEqual({ attested: false, whyNot: 'the binding is credentials' });
    expect(await stored(device.serial)).toEqual({ status: 'enrolled', attested_at: null });
  });

  it('enrols nobody before the TPM has opened its credential', async () => {
    const device = await account();
    const wrong = {
      activateEnrolment: (serial: string, token: Uint8Array) =>
        auth.activateEnrolment(serial, token, new Uint8Array(32)),
    };
    await expect(enrol(device, identity, wrong)).rejects.toMatchObject(refused('activation-failed'));
    expect(await stored(device.serial)).toEqual({ status: 'registered', attested_at: null });
  });

  it('records no activation that nobody began: the audit is not for strangers to fill', async () => {
    const device = await account();
    const refusals = (): Promise<readonly object[]> =>
      api.infrastructure.database.queries
        .selectFrom('audit_events')
        .select('details')
        .where('subject', '=', device.serial)
        .where('event', '=', 'device.attestation-refused')
        .execute();
    const stranger = auth.activateEnrolment(device.serial, new Uint8Array(32), new Uint8Array(32));
    await expect(stranger).rejects.toMatchObject(refused('activation-failed'));
    expect(await refusals()).toEqual([]);
    const wrong = {
      activateEnrolment: (serial: string, token: Uint8Array) =>
        auth.activateEnrolment(serial, token, new Uint8Array(32)),
    };
    await expect(enrol(device, identity, wrong)).rejects.toMatchObject(refused('activation-failed'));
    expect(await refusals()).toEqual([{ details: { code: 'attestation.activation-failed' } }]);
  });

  it('lets an activation be tried once, for its own device only', async () => {
    const [device, other] = [await account(), await account()];
    const twice: Partial<EnrolmentApi> = {
      activateEnrolment: async (serial, token, secret) => {
        await auth.activateEnrolment(serial, token, new Uint8Array(32)).catch(() => undefined);
        await auth.activateEnrolment(serial, token, secret);
      },
    };
    await expect(enrol(device, identity, twice)).rejects.toMatchObject(refused('activation-failed'));
    const elsewhere: Partial<EnrolmentApi> = {
      activateEnrolment: (_, token, secret) => auth.activateEnrolment(other.serial, token, secret),
    };
    await expect(enrol(device, identity, elsewhere)).rejects.toMatchObject({ code: 'login.wrong-credentials' });
    expect((await stored(device.serial)).status).toBe('registered');
    expect((await stored(other.serial)).status).toBe('registered');
  });

  it('refuses evidence that was sent before, and evidence for another nonce', async () => {
    const device = await account();
    const challenge = await auth.enrolmentChallenge(device.serial, device.email, device.password);
    const proof = await proveEnrolment(identity, device.serial, challenge);
    const evidence = await identity.evidenceFor({ ...proof, serial: device.serial });
    expect(await auth.enrol(device.serial, proof, evidence)).toBeDefined();
    await expect(auth.enrol(device.serial, proof, evidence)).rejects.toMatchObject(refused('replayed'));
    await expect(
      enrol(
        device,
        identity,
        withEvidence(() => evidence),
      ),
    ).rejects.toMatchObject(refused('wrong-nonce'));
    expect((await stored(device.serial)).status).toBe('registered');
  });

  it('refuses altered registers and altered key attributes, and records it', async () => {
    const device = await account();
    const registers = withEvidence((evidence) => ({
      ...evidence,
      pcrValues: evidence.pcrValues.map(() => new Uint8Array(32).fill(1)),
    }));
    await expect(enrol(device, identity, registers)).rejects.toMatchObject(refused('pcr-refused'));
    const exportable = withEvidence((evidence) => {
      const agreementKey = Uint8Array.from(evidence.agreementKey);
      agreementKey[7]! ^= 1 << 1; // fixedTPM
      return { ...evidence, agreementKey };
    });
    await expect(enrol(device, identity, exportable)).rejects.toMatchObject(refused('key-attributes'));
    const events = await api.infrastructure.database.queries
      .selectFrom('audit_events')
      .select('details')
      .where('subject', '=', device.serial)
      .where('event', '=', 'device.attestation-refused')
      .orderBy('id')
      .execute();
    expect(events.map(({ details }) => details)).toEqual([
      { code: 'attestation.pcr-refused' },
      { code: 'attestation.key-attributes' },
    ]);
  });

  it("refuses another TPM's attestation key, and a TPM that no trusted maker has certified", async () => {
    const stranger = await testTpmAuthority();
    const other = await startSoftwareTpm({ endorsement: stranger });
    const foreign = await identityIn(other);
    try {
      const device = await account();
      await expect(enrol(device, foreign)).rejects.toMatchObject(refused('ek-untrusted'));
      const its = await foreign.evidenceFor({
        serial: device.serial,
        nonce: new Uint8Array(32),
        signingKey: await foreign.signingKey(),
        agreementKey: await foreign.agreementPoint(),
      });
      const mixed = withEvidence((evidence) => ({ ...evidence, attestationKey: its.attestationKey }));
      await expect(enrol(device, identity, mixed)).rejects.toMatchObject(refused('foreign-key'));
      // All of the stranger's own, under the endorsement key of a real one: every signature holds, and activation fails.
      const borrowed = withEvidence((evidence) => ({
        ...evidence,
        endorsementKey: realKey.endorsementKey,
        endorsementCertificate: realKey.endorsementCertificate,
      }));
      const realKey = await identity.evidenceFor({
        serial: device.serial,
        nonce: new Uint8Array(32),
        signingKey: await identity.signingKey(),
        agreementKey: await identity.agreementPoint(),
      });
      await expect(enrol(device, foreign, borrowed)).rejects.toMatchObject(refused('activation-failed'));
      expect((await stored(device.serial)).status).toBe('registered');
    } finally {
      await foreign.close();
      await other.remove();
      await stranger.remove();
    }
  });

  it('lets one TPM stand for one device', async () => {
    const [first, second] = [await account(), await account()];
    expect(await enrol(first, identity)).toMatchObject({ attested: true });
    const again = await identityIn(tpm); // other keys in the same TPM
    await expect(enrol(second, again)).rejects.toMatchObject(refused('tpm-taken'));
    await again.close();
    expect((await stored(second.serial)).status).toBe('registered');
    await reset(first.serial);
  });

  it('refuses evidence that is no evidence', async () => {
    const device = await account();
    const noise = withEvidence((evidence) => ({ ...evidence, signingKey: new Uint8Array(9) }));
    await expect(enrol(device, identity, noise)).rejects.toMatchObject(refused('malformed'));
    const body = { nonce: 'x', evidence: { quote: 7 } };
    const { status } = await api.call('POST', `/devices/${device.serial}/enrolment`, { body });
    expect(status).toBe(400);
  });
});
