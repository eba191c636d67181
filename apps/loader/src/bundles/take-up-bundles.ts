import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { DirectoryBundle } from '@azaion/adapters/bundle';
import { type ImportBundle, MANIFEST_PATH } from '@azaion/split-resource';

import type { BundledPacks } from './bundled-packs.js';

const LOOK_EVERY_MS = 60_000;

/** Where a bundle's news are told. */
export interface BundleLog {
  log(message: string): void;
  warn(message: string): void;
}

/** What {@link TakeUpBundles} works with. */
export interface TakeUpBundlesDependencies {
  readonly importing: ImportBundle;
  readonly packs: BundledPacks;
  readonly log: BundleLog;
  /** Directories that are a bundle themselves, or hold some. */
  readonly places: readonly string[];
}

/** Takes up bundles that somebody has put onto this device: at the start, and within a minute later on. A bundle that is not good changes nothing. */
export class TakeUpBundles {
  private readonly seen = new Map<string, string>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly using: TakeUpBundlesDependencies) {}

  /** Looks now, and every minute from now on. */
  async start(): Promise<void> {
    await this.look();
    this.timer = setInterval(() => void this.look(), LOOK_EVERY_MS).unref();
  }

  /** Looks no more. */
  stop(): void {
    clearInterval(this.timer);
  }

  /** Takes up what is new. It never throws: what is wrong with a bundle stands in the log. */
  async look(): Promise<void> {
    for (const directory of await this.bundles()) {
      const state = await stateOf(join(directory, MANIFEST_PATH));
      if (state === undefined || this.seen.get(directory) === state) continue;
      this.seen.set(directory, state);
      await this.takeUp(directory);
    }
  }

  private async takeUp(directory: string): Promise<void> {
    const { importing, packs, log } = this.using;
    try {
      const { opened, refused } = await importing.run(new DirectoryBundle(directory));
      packs.add(directory);
      const names = opened.map(({ resource, version }) => `${resource.folder}/${resource.name} ${String(version)}`);
      log.log(`The bundle ${directory} was taken up: ${names.length === 0 ? 'nothing new' : names.join(', ')}.`);
      for (const { resource, version, reason } of refused)
        log.warn(`${resource.folder}/${resource.name} ${String(version)} of ${directory} is not used: ${reason}`);
    } catch (error) {
      log.warn(`The bundle ${directory} is not used: ${error instanceof Error ? error.message : 'unknown reason'}`);
    }
  }

  private async bundles(): Promise<readonly string[]> {
    const found: string[] = [];
    for (const place of this.using.places) {
      if ((await stateOf(join(place, MANIFEST_PATH))) !== undefined) found.push(place);
      const entries = await readdir(place, { withFileTypes: true }).catch(() => []);
      for (const entry of entries) if (entry.isDirectory()) found.push(join(place, entry.name));
    }
    return found;
  }
}

/** What a changed manifest has another one of; `undefined` for none. */
async function stateOf(path: string): Promise<string | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true ? `${String(found.ino)}/${String(found.size)}/${String(found.mtimeMs)}` : undefined;
}
