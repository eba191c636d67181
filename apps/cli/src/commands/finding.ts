/** What one look of `azaion doctor` came to. */
export interface Finding {
  readonly check: 'api' | 'binding' | 'cdn' | 'clock' | 'disk' | 'engine' | 'leases' | 'permissions' | 'tpm';
  readonly state: 'fails' | 'not checked' | 'ok' | 'warns';
  readonly says: string;
  /** What helps. */
  readonly remedy?: string;
}
