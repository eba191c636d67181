import type { ResourceName } from '@azaion/kernel';

import { type Lease, type LeaseName, leasePath, LeaseStore } from '../ports/lease-store.js';
import { type RefusalMarks, RefusalMarkStore } from '../ports/refusal-mark-store.js';
import { type TimeMark, TimeMarkStore } from '../ports/time-mark-store.js';

/** Leases that live as long as this object. */
export class InMemoryLeaseStore extends LeaseStore {
  private readonly leases = new Map<string, Lease>();

  override names(): Promise<readonly LeaseName[]> {
    return Promise.resolve([...this.leases.values()].map(({ resource, version }) => ({ resource, version })));
  }

  override of({ folder, name }: ResourceName): Promise<readonly Lease[]> {
    const found = [...this.leases.values()].filter(
      ({ resource }) => resource.folder === folder && resource.name === name,
    );
    return Promise.resolve(found.sort((left, right) => right.version - left.version));
  }

  override keep(lease: Lease): Promise<void> {
    this.leases.set(leasePath(lease), structuredClone(lease));
    return Promise.resolve();
  }

  override drop(name: LeaseName): Promise<void> {
    this.leases.delete(leasePath(name));
    return Promise.resolve();
  }
}

/** A mark that lives as long as this object. */
export class InMemoryTimeMarkStore extends TimeMarkStore {
  mark: TimeMark | undefined;

  override read(): Promise<TimeMark | undefined> {
    return Promise.resolve(this.mark);
  }

  override write(mark: TimeMark): Promise<void> {
    this.mark = mark;
    return Promise.resolve();
  }
}

/** Marks that live as long as this object. */
export class InMemoryRefusalMarkStore extends RefusalMarkStore {
  marks: RefusalMarks = { deviceSeconds: 0, resources: new Map() };

  override read(): Promise<RefusalMarks> {
    return Promise.resolve(this.marks);
  }

  override write(marks: RefusalMarks): Promise<void> {
    this.marks = marks;
    return Promise.resolve();
  }
}
