import { UnlockError } from './errors.js';
import { KeptImages } from './kept-images.js';
import { NOTHING_RECORDED } from './ports/unlock-records.js';

const PAUSES = { first: 100, longest: 300 };
const ARCHIVE = { identity: 'a', version: null };
const OTHER = { identity: 'b', version: null };
const IMAGES = [{ reference: 'a:1', imageId: 'sha256:1' }];
const UNHEALTHY = new UnlockError('unlock.services-unhealthy', 'They are not healthy.');
const CANCELLED = new UnlockError('unlock.cancelled', 'It was cancelled.');

describe('KeptImages', () => {
  let kept: KeptImages;
  beforeEach(() => {
    kept = new KeptImages(NOTHING_RECORDED);
  });

  it('doubles the pause before services are tried again, up to the longest', () => {
    for (const [attempts, pauseMs] of [
      [1, 100],
      [2, 200],
      [3, 300],
      [4, 300],
    ] as const) {
      kept.couldNotStart(ARCHIVE, 1000, PAUSES);
      expect(kept.facts.retry).toEqual({ identity: 'a', attempts, atMs: 1000 + pauseMs });
    }
    kept.couldNotStart(OTHER, 1000, PAUSES);
    expect(kept.facts.retry).toEqual({ identity: 'b', attempts: 1, atMs: 1100 });
  });

  it('puts an archive off until its pause is over, and no other', () => {
    kept.couldNotStart(ARCHIVE, 1000, PAUSES);
    expect([1000, 1099, 1100, 1101].map((nowMs) => kept.isPutOff(ARCHIVE, nowMs, PAUSES))).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(kept.isPutOff(OTHER, 1000, PAUSES)).toBe(false);
  });

  it('does not wait longer than the longest pause after the clock was set back', () => {
    kept.couldNotStart(ARCHIVE, 1000, PAUSES);
    expect([800, 799].map((nowMs) => kept.isPutOff(ARCHIVE, nowMs, PAUSES))).toEqual([true, false]);
  });

  it('counts nothing for images that were refused, unless the way back is not ended', () => {
    kept.areGivenUp(ARCHIVE, UNHEALTHY);
    kept.couldNotStart(ARCHIVE, 1000, PAUSES);
    expect(kept.facts.retry).toBeNull();
    kept.beginRollBack(ARCHIVE, UNHEALTHY);
    kept.couldNotStart(ARCHIVE, 1000, PAUSES);
    expect(kept.facts).toMatchObject({ rollbackDue: true, retry: { attempts: 1 } });
  });

  it('refuses images with which services were not healthy, and those that others had to replace', () => {
    kept.areGivenUp(ARCHIVE, new Error('the engine has stopped'));
    expect(kept.isRefused(ARCHIVE)).toBe(false);
    kept.areGivenUp(ARCHIVE, UNHEALTHY);
    expect([kept.isRefused(ARCHIVE), kept.isRefused(OTHER)]).toEqual([true, false]);
    kept.forgetFailures();
    expect(kept.facts).toEqual(NOTHING_RECORDED);
    kept.areRolledBack(ARCHIVE, CANCELLED);
    expect(kept.isRefused(ARCHIVE)).toBe(false);
    kept.areRolledBack(ARCHIVE, new UnlockError('unlock.services-failed', 'They did not start.'));
    expect(kept.isRefused(ARCHIVE)).toBe(true);
    kept.areGivenUp(null, UNHEALTHY);
    expect(kept.facts.refused).toBeNull();
  });

  it('knows what the services run from once they are healthy, until they are to be replaced', () => {
    kept.areLoaded(ARCHIVE, IMAGES);
    expect([kept.proofOf(ARCHIVE), kept.proofOf(OTHER), kept.isRunning(ARCHIVE)]).toEqual([IMAGES, [], false]);
    kept.beginReplacing();
    kept.areHealthy();
    expect([kept.isRunning(ARCHIVE), kept.isRunning(OTHER)]).toEqual([true, false]);
    kept.areLoaded(OTHER, []);
    kept.beginReplacing();
    expect([kept.isRunning(ARCHIVE), kept.isRunning(OTHER)]).toEqual([false, false]);
    kept.areRolledBack(OTHER, UNHEALTHY);
    expect([kept.isRunning(ARCHIVE), kept.proofOf(ARCHIVE)]).toEqual([true, IMAGES]);
  });
});
