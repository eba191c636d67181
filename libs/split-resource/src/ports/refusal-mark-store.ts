/** When the Admin API refused this device what it had leases for, in seconds since 1970 by the trusted time. */
export interface RefusalMarks {
  /** Everything, because the device was revoked; 0 for never. */
  readonly deviceSeconds: number;
  /** `folder/name` for every version of a resource, `folder/name/version` for one of them. */
  readonly resources: ReadonlyMap<string, number>;
}

/** Keeps the {@link RefusalMarks} of one device across restarts. */
export abstract class RefusalMarkStore {
  /** The marks as they were written last, none when there never were any. Marks that were changed by somebody else refuse everything. */
  abstract read(): Promise<RefusalMarks>;

  /** Replaces the marks; after it resolves they survive a power cut. @throws ResourceError `resource.no-space`. */
  abstract write(marks: RefusalMarks): Promise<void>;
}
