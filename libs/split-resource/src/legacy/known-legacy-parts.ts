import type { Clock } from '@azaion/kernel';

/** Of each kind of knowledge; a device holds some hundreds of resources. */
const MAX_KNOWN = 4096;
/** How long a CDN that did not answer is not asked about what lies on the device. */
const CDN_PAUSE_MS = 30_000;

/**
 * What a process has learned about parts of the older format, which say nothing about themselves. Shared by all openings; bounded: what
 * was learned longest ago is forgotten first. Parts are named by the SHA-256 of the small one and the state of the big one.
 */
export class KnownLegacyParts {
  private readonly plaintexts = new Map<string, string>();
  private readonly misfits = new Map<string, true>();
  private readonly agreements = new Map<string, true>();
  private cdnAskedAgainAtMs = -Infinity;

  /** @param clock - Its monotonic time says when a silent CDN is asked again. */
  constructor(private readonly clock: Clock) {}

  /** Keeps the SHA-256 of a plaintext that was published with this small part. All are hexadecimal. */
  published(smallSha256: string, plaintextSha256: string): void {
    keep(this.plaintexts, smallSha256, plaintextSha256);
  }

  /** SHA-256 of the plaintext, where it was published from here. */
  plaintextOf(smallSha256: string): string | undefined {
    return this.plaintexts.get(smallSha256);
  }

  /** A big part in this state was read to its end, and is not what belongs to the small one. */
  misfitFound(smallSha256: string, state: string): void {
    keep(this.misfits, `${smallSha256} ${state}`, true);
  }

  /** Whether {@link misfitFound} was told of these two. */
  isMisfit(smallSha256: string, state: string): boolean {
    return this.misfits.has(`${smallSha256} ${state}`);
  }

  /** Two big parts in these states were compared and look alike. */
  agreed(state: string, otherState: string): void {
    keep(this.agreements, `${state} ${otherState}`, true);
  }

  /** Whether {@link agreed} was told of these two. */
  isAgreed(state: string, otherState: string): boolean {
    return this.agreements.has(`${state} ${otherState}`);
  }

  /** The CDN gave no answer: for some time nobody waits for one who can go on without. */
  cdnIsSilent(): void {
    this.cdnAskedAgainAtMs = this.clock.monotonicMs() + CDN_PAUSE_MS;
  }

  /** Whether an answer of the CDN is worth waiting for. */
  get isCdnAsked(): boolean {
    return this.clock.monotonicMs() >= this.cdnAskedAgainAtMs;
  }
}

function keep<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > MAX_KNOWN && oldest !== undefined) map.delete(oldest);
}
