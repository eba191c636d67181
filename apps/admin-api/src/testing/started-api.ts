/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Role } from '@azaion/identity';
import type { Clock } from '@azaion/kernel';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';

import { readAdminConfig } from '../config.js';
import { createAdminApi, prepareAdminApi } from '../create-admin-api.js';
import { type Infrastructure, openInfrastructure } from '../infrastructure.js';

/** An answer, read whole. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // Specs look into it as they like.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly json: any;
}

/** One account with a token. */
export interface Account {
  readonly email: string;
  readonly password: string;
  readonly id: string;
  readonly token: string;
}

/** The real application on an embedded PostgreSQL and the file store. */
export interface StartedApi {
  readonly app: NestFastifyApplication;
  readonly infrastructure: Infrastructure;
  readonly url: string;
  /** Where it keeps its data. */
  readonly directory: string;
  /** The bootstrap administrator. */
  readonly administrator: Account;
  /** Makes a call. A body that is no text or bytes goes as JSON. */
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  /** A new account with a token. */
  account(role: Role): Promise<Account>;
  logIn(email: string, password: string): Promise<Answer>;
  stop(): Promise<void>;
}

/** What a call carries. */
export interface CallOptions {
  readonly token?: string | undefined;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The first administrator of every test. */
export const ADMINISTRATOR = { email: 'root@example.com', password: 'correct horse battery staple' };
let accounts = 0;

/** Starts an Admin API of its own. @param env - Settings beside those of every test. @param clock - The machine's own unless given. */
export async function startApi(env: Readonly<Record<string, string>> = {}, clock?: Clock): Promise<StartedApi> {
  const directory = await mkdtemp(join(tmpdir(), 'admin-api-'));
  await chmod(directory, 0o755); // root's database user must reach it
  const config = readAdminConfig({
    ADMIN_HOST: '127.0.0.1',
    ADMIN_PORT: '0',
    ADMIN_DATA_DIR: directory,
    BOOTSTRAP_ADMIN_EMAIL: ADMINISTRATOR.email,
    BOOTSTRAP_ADMIN_PASSWORD: ADMINISTRATOR.password,
    LOGIN_ATTEMPTS_PER_ADDRESS: '100000',
    ...env,
  });
  const infrastructure = await openInfrastructure(config, clock);
  const app = await createAdminApi(config, infrastructure, '0.0.0', { log: { level: 'silent' } });
  const stop = async (): Promise<void> => {
    await app.close();
    await infrastructure.close();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await prepareAdminApi(app, config, () => undefined);
  } catch (error) {
    await stop();
    throw error;
  }
  await app.listen(0, '127.0.0.1');
  const url = `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}`;
  infrastructure.reachedAt(url);

  const call = async (method: string, path: string, options: CallOptions = {}): Promise<Answer> => {
    const raw = typeof options.body === 'string' || options.body instanceof Uint8Array;
    const type = options.body instanceof Uint8Array ? 'application/octet-stream' : 'application/json';
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: {
        ...(options.body === undefined ? {} : { 'content-type': type }),
        ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
        ...options.headers,
      },
      ...(options.body === undefined ? {} : { body: raw ? (options.body as string) : JSON.stringify(options.body) }),
    });
    const text = await answer.text();
    const isJson = /[/+]json/.test(answer.headers.get('content-type') ?? '');
    return { status: answer.status, headers: answer.headers, text, json: isJson ? JSON.parse(text) : undefined };
  };
  const logIn = (email: string, password: string): Promise<Answer> =>
    call('POST', '/login', { body: { email, password } });
  const known = async (email: string, password: string): Promise<Account> => {
    const token = (await logIn(email, password)).json.access_token as string;
    return { email, password, token, id: (await call('GET', '/users/current', { token })).json.id as string };
  };
  const administrator = await known(ADMINISTRATOR.email, ADMINISTRATOR.password);

  return {
    app,
    infrastructure,
    url,
    directory,
    administrator,
    call,
    logIn,
    account: async (role) => {
      const email = `user-${String(accounts++)}@example.com`;
      const password = `password of ${email}`;
      await call('POST', '/users', { token: administrator.token, body: { email, password, role } });
      return known(email, password);
    },
    stop,
  };
}
