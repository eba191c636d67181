import { type UnlockRecord, UnlockRecords } from '../ports/unlock-records.js';

/** Keeps the record in memory, and every record that was ever saved. */
export class InMemoryUnlockRecords extends UnlockRecords {
  readonly saved: UnlockRecord[] = [];

  constructor(initial?: UnlockRecord) {
    super();
    if (initial !== undefined) this.saved.push(initial);
  }

  override load(): Promise<UnlockRecord | undefined> {
    return Promise.resolve(this.saved.at(-1));
  }

  override save(record: UnlockRecord): Promise<void> {
    this.saved.push(record);
    return Promise.resolve();
  }
}
