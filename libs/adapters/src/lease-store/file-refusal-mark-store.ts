import type { DeviceStateKey } from '@azaion/identity';
import { type RefusalMarks, RefusalMarkStore } from '@azaion/split-resource';

import { readTextIfThere, replaceDurably } from '../file-store/index.js';

/** Keeps the marks in one file under a MAC by the device's key. One that was changed counts as a refusal of everything. */
export class FileRefusalMarkStore extends RefusalMarkStore {
  constructor(
    private readonly path: string,
    private readonly key: DeviceStateKey,
  ) {
    super();
  }

  override async read(): Promise<RefusalMarks> {
    const text = await readTextIfThere(this.path);
    if (text === undefined) return { deviceSeconds: 0, resources: new Map() };
    const authentic = this.key.authentic('lease-refusals', text);
    if (authentic === undefined) return { deviceSeconds: Number.MAX_SAFE_INTEGER, resources: new Map() };
    const { deviceSeconds, resources } = JSON.parse(authentic) as { deviceSeconds: number; resources: object };
    return { deviceSeconds, resources: new Map(Object.entries(resources)) };
  }

  override async write({ deviceSeconds, resources }: RefusalMarks): Promise<void> {
    const text = JSON.stringify({ deviceSeconds, resources: Object.fromEntries(resources) });
    await replaceDurably(this.path, this.key.authenticate('lease-refusals', text));
  }
}
