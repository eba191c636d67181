import { keptReference } from './start-services.js';

describe('keptReference', () => {
  it.each([
    ['azaion/detections:1.4.0', 'azaion/detections:1.4.0-last-good'],
    ['docker.io/library/redis', 'redis:latest-last-good'],
    ['registry.example:5000/a/b:2', 'registry.example:5000/a/b:2-last-good'],
  ])('keeps %s as %s', (reference, kept) => {
    expect(keptReference(reference)).toBe(kept);
  });

  it('is no longer than a tag may be, of which the beginning stays', () => {
    expect(keptReference(`a:${'t'.repeat(118)}`)).toBe(`a:${'t'.repeat(118)}-last-good`);
    for (const length of [119, 128])
      expect(keptReference(`a:${'t'.repeat(117)}b${'c'.repeat(length - 118)}`)).toBe(`a:${'t'.repeat(117)}b-last-good`);
  });
});
