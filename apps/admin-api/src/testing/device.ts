/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { createHmac, randomUUID } from 'node:crypto';

import { generateP256KeyPair, importSigningKey, type P256KeyPair, signRaw, softwareEcdh } from '@azaion/crypto';
import { concatBytes, toBase64Url, utf8 } from '@azaion/kernel';
import { SignJWT } from 'jose';

import type { Answer, StartedApi } from './started-api.js';

const LABEL = utf8('azaion-enrol-v1\0');

/** What an enrolment sends; attacks change it. */
export interface EnrolmentBody {
  nonce: string;
  signingKey: object;
  agreementKey: string;
  signingProof: string;
  agreementProof: string;
}

/** The answer of `POST /devices`. */
type RegisteredDevice = Readonly<Record<'Serial' | 'Email' | 'Password', string>>;

/** A device with keys in memory. */
export class TestDevice {
  private constructor(
    private readonly api: StartedApi,
    readonly serial: string,
    readonly email: string,
    readonly password: string,
    readonly signing: P256KeyPair,
    readonly agreement: P256KeyPair,
  ) {}

  /** Registers a device that is not enrolled yet. */
  static async register(api: StartedApi): Promise<TestDevice> {
    const { json } = await api.call('POST', '/devices', { token: api.administrator.token, body: {} });
    return TestDevice.of(api, json as RegisteredDevice);
  }

  /** A device as it was registered, with keys of its own. */
  static async of(api: StartedApi, { Serial, Email, Password }: RegisteredDevice): Promise<TestDevice> {
    const [signing, agreement] = [await generateP256KeyPair(), await generateP256KeyPair()];
    return new TestDevice(api, Serial, Email, Password, signing, agreement);
  }

  /** Registers a device and enrols it. */
  static async enrolled(api: StartedApi): Promise<TestDevice> {
    const device = await TestDevice.register(api);
    const { status, text } = await device.enrol(await device.enrolment());
    if (status !== 204) throw new Error(`the device was not enrolled: ${text}`);
    return device;
  }

  challenge(password = this.password): Promise<Answer> {
    const body = { email: this.email, password };
    return this.api.call('POST', `/devices/${this.serial}/enrolment/challenge`, { body });
  }

  /** A good enrolment for a fresh challenge. */
  async enrolment(serial = this.serial): Promise<EnrolmentBody> {
    const { json } = await this.challenge();
    const nonce = Buffer.from(json.nonce as string, 'base64url');
    const serverPoint = Buffer.from(json.agreementPoint as string, 'base64url');
    const shared = await softwareEcdh(this.agreement.privateJwk)(serverPoint);
    const signed = concatBytes(LABEL, nonce, utf8(`${serial}\0`), this.agreement.point, this.signing.point);
    return {
      nonce: json.nonce as string,
      signingKey: this.signing.publicJwk,
      agreementKey: toBase64Url(this.agreement.point),
      signingProof: toBase64Url(signRaw(this.signing.privateJwk, signed)),
      agreementProof: createHmac('sha256', shared)
        .update(concatBytes(LABEL, nonce, utf8(serial)))
        .digest('base64url'),
    };
  }

  enrol(body: EnrolmentBody): Promise<Answer> {
    return this.api.call('POST', `/devices/${this.serial}/enrolment`, { body });
  }

  /** An assertion of this device; attacks change its claims. */
  async assertion(claims: Readonly<Record<string, unknown>> = {}, key = this.signing): Promise<string> {
    const { privateKey } = await importSigningKey('device', key.privateJwk);
    const iat = Math.floor(Date.now() / 1000);
    return new SignJWT({
      iss: this.serial,
      sub: this.serial,
      aud: 'azaion',
      jti: randomUUID(),
      iat,
      exp: iat + 60,
      ...claims,
    })
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT' })
      .sign(privateKey);
  }

  logIn(assertion: string): Promise<Answer> {
    return this.api.call('POST', '/login/device', { body: { assertion } });
  }

  /** A fresh access token. */
  async token(): Promise<string> {
    return (await this.logIn(await this.assertion())).json.access_token as string;
  }
}
