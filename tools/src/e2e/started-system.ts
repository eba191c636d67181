import { randomBytes } from 'node:crypto';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { adminApiClient, type AdminApiClient, loaderClient, type LoaderClient } from '@azaion/adapters/service-client';
import type { Role } from '@azaion/identity';
import {
  freePort,
  type RunningProcess,
  type S3Service,
  startPostgres,
  startTcpProxy,
  type TcpProxy,
  tempDirectory,
} from '@azaion/testing';

import { startService } from '../started-service.js';
import { type LoaderRequests, loaderRequests, post } from './loader-requests.js';
import { type AdminReplicas, startReplicas } from './started-replicas.js';

const REPLICAS = 2;
/** `npm run test:replicas`: every suite's Admin API is two, on one PostgreSQL and one volume; `one-killed`: and one of them is dead. */
const REPLICATED = process.env['AZAION_E2E_REPLICAS'];
const ADMINISTRATOR = { email: 'root@example.com', password: 'correct horse battery' };

/** A person the suites log in as. */
export interface Person {
  readonly email: string;
  readonly password: string;
}

/** The built Admin API and a Loader, running as processes of their own. */
export interface StartedSystem {
  readonly adminUrl: string;
  readonly loaderUrl: string;
  readonly adminDataDir: string;
  readonly loaderDataDir: string;
  /** Where archives may be pre-deployed for the Loader. */
  readonly imagesDir: string;
  readonly administrator: Person;
  readonly serial: string;
  /** The device's own account, as its `device.conf` has it. */
  readonly deviceAccount: Person;
  /** What lies between the Loader and the Admin API with its object store, where that was asked for. */
  readonly link: TcpProxy | undefined;
  /** The Admin API; where there is more than one, the first as it was started. */
  readonly admin: RunningProcess;
  /** What every Admin API has printed. */
  adminOutput(): string;
  /** Where there is more than one Admin API. */
  readonly replicas: AdminReplicas | undefined;
  /** The Loader that runs now. */
  loader(): RunningProcess;
  /** Stops the Loader and starts it again on its data. @param until - What is waited for; default `ready`. */
  restartLoader(until?: 'live' | 'ready'): Promise<void>;
  /** Creates a person with a role. */
  createPerson(role: Role): Promise<Person>;
  /** Logs in at the Loader and returns the access token. */
  login(person: Person): Promise<string>;
  /** Logs in at the Admin API and returns the access token. */
  loginAtAdmin(person: Person): Promise<string>;
  /** The routes of the Admin API by the types of its contract, for what must succeed; see {@link answerOf}. @param token - Whose calls they are. */
  adminApi(token?: string): AdminApiClient;
  /** The routes of the Loader, likewise. */
  loaderApi(token?: string): LoaderClient;
  /** The Loader's flows as plain requests, whatever they answer. */
  readonly requests: LoaderRequests;
  stop(): Promise<void>;
}

/** How the suites' system differs from the default. */
export interface SystemOptions {
  /** The object store; without it the Admin API's own file store. */
  readonly s3?: S3Service;
  /** Puts a link that can be worsened between the Loader and everything else; not with `databaseUrl`. */
  readonly linked?: boolean;
  /** Two Admin APIs behind one address on this database, instead of one with its own; needs `s3`. */
  readonly databaseUrl?: string;
  /** Always one Admin API with the database in its data directory, which the suite looks into. */
  readonly embedded?: boolean;
  /** More settings for the Admin API. */
  readonly adminEnv?: Readonly<Record<string, string>>;
  /** More settings for the Loader. */
  readonly loaderEnv?: Readonly<Record<string, string>>;
}

/** Starts Admin API and Loader from what `npm run build` made, with a device enrolled, on ports and data of their own. */
export async function startSystem(options: SystemOptions = {}): Promise<StartedSystem> {
  const directory = await tempDirectory('azaion-e2e');
  const stops: (() => Promise<unknown>)[] = [() => directory.remove()];
  const stop = async (): Promise<void> => {
    for (const step of stops.toReversed()) await step();
  };
  try {
    // As root, PostgreSQL runs as another user and must reach its files.
    await chmod(directory.path, 0o755);
    const adminDataDir = join(directory.path, 'admin');
    const passwordFile = join(directory.path, 'bootstrap-password');
    await writeFile(passwordFile, ADMINISTRATOR.password, { mode: 0o600 });
    let link: TcpProxy | undefined;
    const linkedTo = async (url: string): Promise<string> => {
      if (options.linked !== true) return url;
      link = await startTcpProxy({ port: Number(new URL(url).port) });
      stops.push(() => link?.stop() ?? Promise.resolve());
      return `http://127.0.0.1:${link.port}`;
    };
    const settings = {
      BOOTSTRAP_ADMIN_EMAIL: ADMINISTRATOR.email,
      BOOTSTRAP_ADMIN_PASSWORD_FILE: passwordFile,
      ...(options.s3 === undefined ? {} : s3Settings(options.s3)),
      ...options.adminEnv,
    };
    let { databaseUrl } = options;
    if (REPLICATED !== undefined && options.embedded !== true && !('DATABASE_URL' in settings) && !databaseUrl) {
      const postgres = await startPostgres();
      stops.push(() => postgres.stop());
      databaseUrl = postgres.url();
    }
    let adminUrl: string;
    let apiUrl = '';
    let admin: RunningProcess;
    let replicas: AdminReplicas | undefined;
    if (databaseUrl === undefined) {
      adminUrl = `http://127.0.0.1:${await freePort()}`;
      apiUrl = await linkedTo(adminUrl);
      admin = await startApp('admin-api', adminUrl, {
        ADMIN_HOST: '127.0.0.1',
        ADMIN_PORT: new URL(adminUrl).port,
        ADMIN_PUBLIC_URL: apiUrl,
        ADMIN_DATA_DIR: adminDataDir,
        ...settings,
      });
      stops.push(() => admin.stop());
    } else {
      const started = await startReplicas(REPLICAS, {
        env: { DATABASE_URL: databaseUrl, ...settings },
        directory: adminDataDir,
        sharedData: options.s3 === undefined,
        reachedAt: async (balancerUrl) => (apiUrl = await linkedTo(balancerUrl)),
      });
      stops.push(() => started.stop());
      adminUrl = started.url;
      admin = started.first;
      replicas = started;
    }

    const adminToken = await tokenFrom(adminUrl, ADMINISTRATOR);
    const api = adminApiClient({ baseUrl: adminUrl, fetch: callingAs(adminToken) });
    const device = await answerOf(api.POST('/devices', { body: {} }));
    const deviceConf = join(directory.path, 'device.conf');
    await writeFile(deviceConf, `AZAION_DEVICE_EMAIL=${device.Email}\nAZAION_DEVICE_PASSWORD=${device.Password}\n`, {
      mode: 0o600,
    });

    const loaderUrl = `http://127.0.0.1:${await freePort()}`;
    const loaderDataDir = join(directory.path, 'loader');
    const imagesDir = join(directory.path, 'images');
    await mkdir(imagesDir);
    const startLoader = (until: 'live' | 'ready' = 'ready'): Promise<RunningProcess> => {
      const env = {
        LOADER_HOST: '127.0.0.1',
        LOADER_PORT: new URL(loaderUrl).port,
        LOADER_DATA_DIR: loaderDataDir,
        RESOURCE_API_URL: apiUrl,
        DEVICE_CONF: deviceConf,
        IMAGES_PATH: imagesDir,
        ...options.loaderEnv,
      };
      return startApp('loader', loaderUrl, env, until);
    };
    let loader = await startLoader();
    stops.push(() => loader.stop());
    if (REPLICATED === 'one-killed' && options.databaseUrl === undefined) await replicas?.kill(1);

    return {
      adminUrl,
      loaderUrl,
      adminDataDir,
      loaderDataDir,
      imagesDir,
      administrator: ADMINISTRATOR,
      serial: device.Serial,
      deviceAccount: { email: device.Email, password: device.Password },
      link,
      admin,
      adminOutput: () => (replicas ?? admin).output(),
      replicas,
      loader: () => loader,
      restartLoader: async (until) => {
        await loader.stop();
        loader = await startLoader(until);
      },
      createPerson: async (role) => {
        const person = {
          email: `${role.toLowerCase()}-${randomBytes(4).toString('hex')}@example.com`,
          password: randomBytes(12).toString('hex'),
        };
        await answerOf(api.POST('/users', { body: { ...person, role } }));
        return person;
      },
      login: (person) => tokenFrom(loaderUrl, person),
      loginAtAdmin: (person) => tokenFrom(adminUrl, person),
      adminApi: (token) => adminApiClient({ baseUrl: adminUrl, fetch: callingAs(token) }),
      loaderApi: (token) => loaderClient({ baseUrl: loaderUrl, fetch: callingAs(token) }),
      requests: loaderRequests(loaderUrl),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function startApp(
  app: 'admin-api' | 'loader',
  url: string,
  env: Record<string, string>,
  until: 'live' | 'ready' = 'ready',
): Promise<RunningProcess> {
  return startService({ app, url, env: { NODE_ENV: 'development', ...env }, until });
}

function s3Settings(s3: S3Service): Record<string, string> {
  return {
    S3_ENDPOINT: s3.endpoint,
    S3_PUBLIC_ENDPOINT: s3.endpoint,
    S3_REGION: s3.region,
    S3_BUCKET: s3.bucket,
    S3_ACCESS_KEY_ID: s3.accessKeyId,
    S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
  };
}

/** An access token of either service: both answer `POST /login` alike. */
export async function tokenFrom(url: string, person: Person): Promise<string> {
  return (await answerOf(adminApiClient({ baseUrl: url }).POST('/login', { body: person }))).access_token;
}

/** What a typed client got, nothing where the contract says so. @throws Error with the problem instead. */
export async function answerOf<T>(answering: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await answering;
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${JSON.stringify(error)}`);
  return data as T;
}

function callingAs(token: string | undefined): (request: Request) => Promise<Response> {
  return (request) => {
    if (token !== undefined) request.headers.set('authorization', `Bearer ${token}`);
    return fetch(request);
  };
}

/** Posts JSON and expects success. @throws Error with the answer's text. */
export async function postJson<T>(url: string, body: unknown, token?: string): Promise<T> {
  const response = await post(url, body, token);
  const text = await response.text();
  if (!response.ok) throw new Error(`POST ${url}: ${response.status} ${text}`);
  return JSON.parse(text) as T;
}
