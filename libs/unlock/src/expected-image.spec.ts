import { canonicalReference, type ExpectedImage, hasExpectedId } from './expected-image.js';

const DIGEST = `sha256:${'0a'.repeat(32)}`;

describe('canonicalReference', () => {
  it.each([
    ['docker.io/library/redis:7', 'redis:7'],
    ['docker.io/azaion/detections:1.4.0', 'azaion/detections:1.4.0'],
    ['localhost/azaion/detections:1.4.0', 'azaion/detections:1.4.0'],
    ['azaion/detections:1.4.0', 'azaion/detections:1.4.0'],
    ['redis', 'redis:latest'],
    ['docker.io/library/redis', 'redis:latest'],
    ['azaion/detections', 'azaion/detections:latest'],
    ['registry.example:5000/azaion/detections', 'registry.example:5000/azaion/detections:latest'],
    ['registry.example:5000/azaion/detections:1', 'registry.example:5000/azaion/detections:1'],
    [`azaion/detections@${DIGEST}`, `azaion/detections@${DIGEST}`],
  ])('writes %s as %s', (reference, canonical) => {
    expect(canonicalReference(reference)).toBe(canonical);
  });

  it.each(['registry.example/docker.io/library/redis:7', 'localhost:5000/redis:7', 'mirror/localhost/redis:7'])(
    'leaves another registry in %s',
    (reference) => {
      expect(canonicalReference(reference)).toBe(reference);
    },
  );
});

describe('hasExpectedId', () => {
  const expected: ExpectedImage = {
    reference: 'redis:7',
    configDigest: DIGEST,
    manifestDigest: `sha256:${'1b'.repeat(32)}`,
  };

  it('takes the digest of the configuration or of the manifest, and no other', () => {
    expect(hasExpectedId(expected, DIGEST)).toBe(true);
    expect(hasExpectedId(expected, expected.manifestDigest ?? '')).toBe(true);
    expect(hasExpectedId(expected, `sha256:${'2c'.repeat(32)}`)).toBe(false);
    expect(hasExpectedId({ ...expected, manifestDigest: null }, expected.manifestDigest ?? '')).toBe(false);
  });

  it('takes any where none is known', () => {
    expect(hasExpectedId({ ...expected, configDigest: null }, 'sha256:whatever')).toBe(true);
  });
});
