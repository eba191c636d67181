/** A service that commands speak to. */
export interface Service {
  readonly kind: 'api' | 'loader';
  /** Its base URL, without a trailing slash. */
  readonly url: string;
}
