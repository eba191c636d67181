import { join } from 'node:path';

import type { RunningProcess } from '@azaion/testing';

import { startService } from '../started-service.js';
import { preferredPort } from './preferred-port.js';
import { stopLeftoverPostgres } from './demo-database.js';

const ADMIN_PORT = 8081;
const LOADER_PORT = 8080;

/** One of the two services of the demo. */
export interface DemoService {
  readonly url: string;
  readonly process: RunningProcess;
}

/** Where things of the demo lie. */
export interface DemoPlaces {
  readonly adminData: string;
  readonly kek: string;
  readonly adminPasswordFile: string;
  readonly loaderData: string;
  readonly deviceConf: string;
  readonly images: string;
  readonly unlockedImages: string;
}

/** Where everything lies below the demo's directory. */
export function demoPlaces(directory: string): DemoPlaces {
  return {
    adminData: join(directory, 'admin-api'),
    kek: join(directory, 'admin-keys', 'kek'),
    adminPasswordFile: join(directory, 'passwords', 'admin'),
    loaderData: join(directory, 'loader'),
    deviceConf: join(directory, 'device', 'device.conf'),
    images: join(directory, 'device', 'images'),
    unlockedImages: join(directory, 'device', 'unlocked'),
  };
}

/** The services that the demo runs as processes of their own, and that never outlive it. */
export class DemoServices {
  private readonly started: RunningProcess[] = [];
  private stopping = false;
  private fail: (error: Error) => void = () => undefined;
  private readonly oneEnded = new Promise<never>((_resolve, reject) => {
    this.fail = reject;
  });

  constructor(
    private readonly places: DemoPlaces,
    private readonly say: (text: string) => void,
  ) {
    this.oneEnded.catch(() => undefined); // nobody may be waiting at that moment
  }

  /** Starts the Admin API with its embedded PostgreSQL and file store. */
  async startAdminApi(adminEmail: string): Promise<DemoService> {
    const { adminData, kek, adminPasswordFile } = this.places;
    return this.start('admin-api', ADMIN_PORT, (port) => ({
      ADMIN_HOST: '127.0.0.1',
      ADMIN_PORT: String(port),
      ADMIN_DATA_DIR: adminData,
      ADMIN_KEK_FILE: kek,
      BOOTSTRAP_ADMIN_EMAIL: adminEmail,
      BOOTSTRAP_ADMIN_PASSWORD_FILE: adminPasswordFile,
    }));
  }

  /** Starts the Loader as the device; it enrols at its first start. */
  async startLoader(api: string, apiVersion: string, runtime: 'engine' | 'directory'): Promise<DemoService> {
    const { loaderData, deviceConf, images, unlockedImages } = this.places;
    return this.start('loader', LOADER_PORT, (port) => ({
      LOADER_HOST: '127.0.0.1',
      LOADER_PORT: String(port),
      LOADER_DATA_DIR: loaderData,
      LOADER_BINDING: 'credentials',
      RESOURCE_API_URL: api,
      DEVICE_CONF: deviceConf,
      IMAGES_PATH: images,
      API_VERSION: apiVersion,
      UNLOCK_RUNTIME: runtime,
      UNLOCK_DIRECTORY: unlockedImages,
    }));
  }

  /** Fails as soon as one of the services has ended by itself; never settles otherwise. */
  untilOneEnds(): Promise<never> {
    return this.oneEnded;
  }

  /** Stops everything in reverse order, the database too, and waits for it. */
  async stop(): Promise<void> {
    this.stopping = true;
    for (const service of [...this.started].reverse()) await service.stop();
    this.started.length = 0;
    await stopLeftoverPostgres(this.places.adminData);
  }

  private async start(
    app: 'admin-api' | 'loader',
    preferred: number,
    environment: (port: number) => Readonly<Record<string, string>>,
  ): Promise<DemoService> {
    const port = await preferredPort(preferred);
    if (port !== preferred) this.say(`Port ${preferred} is taken: the ${app} listens on ${port} instead.`);
    const url = `http://127.0.0.1:${port}`;
    const running = await startService({ app, url, env: environment(port) });
    this.started.push(running);
    void running.ended.then(({ code, signal }) => {
      if (this.stopping) return;
      const how = signal ?? `status ${code ?? 'unknown'}`;
      this.fail(new Error(`The ${app} ended by itself (${how}). Its log ends with:\n${running.output().slice(-2000)}`));
    });
    return { url, process: running };
  }
}
