import { type ResourceName, resourcePath } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import { type LeaseName, leasePath } from '../ports/lease-store.js';
import type { RefusalMarks, RefusalMarkStore } from '../ports/refusal-mark-store.js';

/** No grant lives longer: an older mark refuses what has ended by itself. */
const LONGEST_LEASE_SECONDS = 90 * 86_400;
/** Most marks kept, more than a device has leases. Beyond them the oldest become one for everything: it refuses more, never less. */
const MAX_MARKS = 10_000;
/** Signed times are whole seconds, cut off: what was signed in the second of the refusal came before it. */
const SAME_SECOND = 1;

/** What the Admin API has refused this device: a grant that was made before, and is carried here later, does not undo it. */
export class LeaseRefusals {
  private marks: RefusalMarks | undefined;
  private changing: Promise<unknown> = Promise.resolve();

  constructor(private readonly store: RefusalMarkStore) {}

  /**
   * Takes note that versions of a resource were refused just now.
   *
   * @param version - `undefined` for all of them.
   * @param nowSeconds - The trusted time.
   */
  refused(resource: ResourceName, version: number | undefined, nowSeconds: number): Promise<void> {
    const key = version === undefined ? resourcePath(resource) : leasePath({ resource, version });
    return this.change(({ deviceSeconds, resources }) => {
      const marks = new Map(resources);
      marks.delete(key); // it becomes the newest
      marks.set(key, Math.max(resources.get(key) ?? 0, nowSeconds + SAME_SECOND));
      return bounded({ deviceSeconds, resources: marks }, nowSeconds);
    });
  }

  /** Takes note that the device was revoked. @param nowSeconds - The trusted time. */
  revoked(nowSeconds: number): Promise<void> {
    return this.change(({ deviceSeconds, resources }) => ({
      deviceSeconds: Math.max(deviceSeconds, nowSeconds + SAME_SECOND),
      resources,
    }));
  }

  /** Whether a grant of this moment was made before something that it grants was refused: why it does not count; `undefined` when it does. */
  async whyRefused(name: LeaseName, issuedAtSeconds: number): Promise<string | undefined> {
    const { deviceSeconds, resources } = await this.read();
    if (issuedAtSeconds <= deviceSeconds)
      return 'The device was revoked, or its record of refusals was changed, after this grant was made: make a new one, or bring the device into contact.';
    const last = Math.max(resources.get(resourcePath(name.resource)) ?? 0, resources.get(leasePath(name)) ?? 0);
    return issuedAtSeconds <= last
      ? 'The Admin API has refused this version to the device after this grant was made: it was withdrawn, or the folder was closed to the device.'
      : undefined;
  }

  /**
   * Every refusal lies in the past: a mark after a time that the Admin API has signed just now comes from a clock that was ahead.
   *
   * @param signedSeconds - Of the answer to a nonce of this device.
   */
  async assertPast(signedSeconds: number): Promise<void> {
    const latest = signedSeconds + SAME_SECOND;
    const { deviceSeconds, resources } = await this.read();
    if (deviceSeconds <= latest && [...resources.values()].every((seconds) => seconds <= latest)) return;
    await this.change((marks) => ({
      deviceSeconds: Math.min(marks.deviceSeconds, latest),
      resources: new Map([...marks.resources].map(([key, seconds]) => [key, Math.min(seconds, latest)])),
    }));
  }

  private async read(): Promise<RefusalMarks> {
    this.marks ??= await this.store.read();
    return this.marks;
  }

  /** What cannot be written for want of space holds until this process ends. */
  private async change(change: (marks: RefusalMarks) => RefusalMarks): Promise<void> {
    const done = this.changing.then(async () => {
      const marks = change(await this.read());
      this.marks = marks;
      await this.store.write(marks);
    });
    this.changing = done.catch(() => undefined);
    try {
      await done;
    } catch (error) {
      if (!(error instanceof ResourceError) || error.code !== 'resource.no-space') throw error;
    }
  }
}

function bounded({ deviceSeconds, resources }: RefusalMarks, nowSeconds: number): RefusalMarks {
  const needed = [...resources].filter(([, seconds]) => seconds > nowSeconds - LONGEST_LEASE_SECONDS);
  const beyond = needed.splice(0, Math.max(0, needed.length - MAX_MARKS));
  return {
    deviceSeconds: beyond.reduce((latest, [, seconds]) => Math.max(latest, seconds), deviceSeconds),
    resources: new Map(needed),
  };
}
