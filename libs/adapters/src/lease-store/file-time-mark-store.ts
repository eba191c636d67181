import type { DeviceStateKey } from '@azaion/identity';
import { type TimeMark, TimeMarkStore } from '@azaion/split-resource';

import { readTextIfThere, replaceDurably } from '../file-store/index.js';

/** Keeps the mark in one file under a MAC by the device's key. One that was changed counts as none. */
export class FileTimeMarkStore extends TimeMarkStore {
  constructor(
    private readonly path: string,
    private readonly key: DeviceStateKey,
  ) {
    super();
  }

  override async read(): Promise<TimeMark | undefined> {
    const text = await readTextIfThere(this.path);
    if (text === undefined) return undefined;
    const authentic = this.key.authentic('time-mark', text);
    return authentic === undefined ? undefined : (JSON.parse(authentic) as TimeMark);
  }

  override async write({ signedSeconds, runningMs, clock }: TimeMark): Promise<void> {
    const text = JSON.stringify({ signedSeconds, runningMs, clock });
    await replaceDurably(this.path, this.key.authenticate('time-mark', text));
  }
}
