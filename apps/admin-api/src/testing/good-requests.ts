/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-return -- answers are looked into as they come */
import { createHash, hash, randomBytes } from 'node:crypto';

import { generateP256KeyPair } from '@azaion/crypto';
import { concatBytes, toBase64Url, utf8 } from '@azaion/kernel';

import { TestDevice } from './device.js';
import { DraftUpload } from './draft-upload.js';
import type { StartedApi } from './started-api.js';

/** What a request of an operation needs to be answered well, where the examples of its description do not say. */
export interface GoodRequest {
  /** The administrator's unless given. */
  readonly token?: string;
  /** Parts of its path by their names. */
  readonly path?: Readonly<Record<string, string>>;
  /** An object goes as JSON. */
  readonly body?: object;
}

const PASSWORD = 'correct horse battery staple';
/** Marks where parts of a form begin. */
export const BOUNDARY = 'azaion-form';

/** A form with one file, as older clients send it. */
export function fileForm(name: string, content: Uint8Array): Uint8Array {
  const head = `--${BOUNDARY}\r\ncontent-disposition: form-data; name="data"; filename="${name}"\r\n\r\n`;
  return concatBytes(utf8(head), content, utf8(`\r\n--${BOUNDARY}--\r\n`));
}

/** Requests that succeed, each made for the moment in which it is asked for: what they name is there, and is nobody else's. */
export class GoodRequests {
  private made = 0;

  private constructor(
    private readonly api: StartedApi,
    /** Enrolled. */
    private readonly device: TestDevice,
    private readonly deviceToken: string,
    private readonly packId: string,
  ) {}

  /** Publishes the resource of the examples, grants it, and stores what older clients ask for. */
  static async prepare(api: StartedApi): Promise<GoodRequests> {
    const { administrator } = api;
    await TestDevice.register(api); // the device of the examples, which will be revoked
    const device = await TestDevice.enrolled(api);
    const upload = await DraftUpload.open(api, administrator, 'models/detector.onnx');
    const pack = await upload.pack(randomBytes(2000));
    await upload.commit(upload.draft(pack));
    await api.call('PUT', '/binary-split/archives/images', { token: administrator.token });
    for (const path of ['/resources', '/resources/models'])
      await api.call('POST', path, {
        token: administrator.token,
        body: fileForm('detector.onnx.small', randomBytes(100)),
        headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` },
      });
    return new GoodRequests(api, device, await device.token(), pack.packId);
  }

  /** @param operation - As `POST /users/{email}`. */
  async of(operation: string): Promise<GoodRequest> {
    const { path, ...rest } = await this.forNow(operation);
    return { path: { ...(operation.includes('/sealed/{folder}') ? DETECTOR : {}), ...path }, ...rest };
  }

  /** A person's grant lives a quarter of an hour: a long run takes longer. */
  private async freshGrant(): Promise<string> {
    const { json } = await this.api.call('POST', '/sealed/models/detector.onnx/grants', {
      token: this.api.administrator.token,
      body: await grantBody(),
    });
    return json.grantId as string;
  }

  private async forNow(operation: string): Promise<GoodRequest> {
    const { api } = this;
    const [method = '', path = ''] = operation.split(' ');
    switch (operation) {
      case 'POST /login':
        return { body: { email: api.administrator.email, password: api.administrator.password } };
      case 'POST /login/device':
        return { body: { assertion: await this.device.assertion() } };
      case 'POST /token/refresh':
        return { body: { refreshToken: (await this.freshLogin()).refresh_token as string } };
      case 'POST /logout':
      case 'POST /logout/all':
        return { token: (await this.freshLogin()).access_token as string };
      case 'POST /users':
        return { body: { email: this.fresh('new', '@example.com'), password: PASSWORD, role: 'Operator' } };
      case 'PATCH /users/password':
        return { body: { email: (await api.account('Operator')).email, newPassword: PASSWORD } };
      case 'POST /devices':
        return { body: {} };
      case 'POST /devices/{serial}/enrolment/challenge': {
        const { serial, email, password } = await TestDevice.register(api);
        return { path: { serial }, body: { email, password } };
      }
      case 'POST /devices/{serial}/enrolment': {
        const device = await TestDevice.register(api);
        return { path: { serial: device.serial }, body: await device.enrolment() };
      }
      case 'GET /devices/me/desired':
        return { token: this.deviceToken };
      case 'POST /devices/{serial}/report':
        return {
          token: this.deviceToken,
          path: { serial: this.device.serial },
          body: { loaderVersion: '0.1.0', binding: 'tpm', resources: [{ ...DETECTOR, version: 1 }], images: null },
        };
      case 'POST /resources':
      case 'POST /resources/{dataFolder}':
        return { body: fileForm('detector.onnx.small', randomBytes(100)) };
      case 'POST /resources/get':
      case 'POST /resources/get/{dataFolder}':
        return { body: { password: api.administrator.password, fileName: 'detector.onnx.small' } };
      case 'PUT /folders/{folder}':
        return { path: { folder: 'ruled' }, body: { read: ['Operator'], write: ['Admin'], leaseSeconds: 86_400 } };
      case 'POST /sealed/{folder}/{name}/grants':
        return { body: await grantBody() };
      case 'POST /sealed/{folder}/{name}/grants/batch':
        return { body: { serials: [this.device.serial], version: 1 } };
      case 'GET /sealed/grants/{id}/segments/{kind}/{index}':
        return { path: { id: await this.freshGrant(), kind: 'root', index: '0' } };
      case 'POST /sealed/grants/{id}/urls':
        return { path: { id: await this.freshGrant() }, body: { packIds: [this.packId] } };
      case 'POST /sealed/{folder}/{name}/versions/{version}/promote':
        return { path: { ...(await this.published('engines', this.deviceToken)), version: '1' } };
      case 'POST /sealed/{folder}/{name}/versions/{version}/withdraw':
        return { path: { ...(await this.published('models')), version: '1' } };
      case 'POST /sealed/{folder}/{name}/pin':
        return { body: { version: 1 } };
    }
    if (path.startsWith('/users/{email}')) return { path: { email: (await api.account('Operator')).email } };
    if (path.endsWith('/desired')) {
      await this.canary();
      return method === 'GET' ? {} : { body: { resources: [{ ...DETECTOR, version: 'latest' }] } };
    }
    if (path.startsWith('/groups')) await this.canary();
    if (path.startsWith('/sealed/uploads')) return this.ofUpload(operation);
    return {};
  }

  /** Each of an upload of its own. */
  private async ofUpload(operation: string): Promise<GoodRequest> {
    const upload = await DraftUpload.open(this.api, this.api.administrator, `models/${this.fresh('upload')}`);
    const pack = await upload.pack(randomBytes(1000));
    const path = { id: upload.id, packId: pack.packId, kind: 'chunks', index: '0' };
    const content = randomBytes(500);
    switch (operation.slice(operation.indexOf('{id}') + '{id}'.length)) {
      case '/known-chunks':
        return { path, body: { ids: pack.chunks.map(({ id }) => toBase64Url(id)) } };
      case '/packs':
        return {
          path,
          body: {
            sizeBytes: content.length,
            sha256: hash('sha256', content, 'base64url'),
            md5: toBase64Url(createHash('md5').update(content).digest()),
          },
        };
      case '/packs/{packId}/chunks':
        return { path, body: upload.tableOf(pack.chunks) };
      case '/segments/{kind}/{index}':
        return { path, body: content };
      case '/commit':
        return { path, body: await upload.handIn(upload.draft(pack)) };
      default:
        return { path };
    }
  }

  private async published(
    folder: string,
    token = this.api.administrator.token,
  ): Promise<Record<'folder' | 'name', string>> {
    const name = this.fresh('published');
    const upload = await DraftUpload.open(this.api, { token }, `${folder}/${name}`);
    await upload.commit(upload.draft(await upload.pack(randomBytes(100))));
    return { folder, name };
  }

  private async canary(): Promise<void> {
    const { token } = this.api.administrator;
    await this.api.call('PUT', '/groups/canary/desired', { token, body: { resources: [] } });
  }

  private async freshLogin() {
    const { email, password } = await this.api.account('Operator');
    return (await this.api.logIn(email, password)).json;
  }

  private fresh(word: string, rest = ''): string {
    return `${word}-${String(this.made++)}${rest}`;
  }
}

const DETECTOR = { folder: 'models', name: 'detector.onnx' };

async function grantBody(): Promise<object> {
  const { point } = await generateP256KeyPair();
  return { recipientPublicKey: toBase64Url(point), nonce: toBase64Url(randomBytes(16)) };
}
