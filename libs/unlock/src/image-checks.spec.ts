import type { StatementImage } from '@azaion/crypto';

import type { ExpectedImage } from './expected-image.js';
import { assertArchiveExpected, notAsExpected, notSignedFor } from './image-checks.js';
import type { EngineImage } from './ports/image-runtime.js';

const digest = (byte: string): string => `sha256:${byte.repeat(32)}`;
const IMAGE: StatementImage = { reference: 'azaion/a:1', configDigest: digest('0a'), manifestDigest: digest('1a') };
const OTHER: StatementImage = { reference: 'azaion/b:1', configDigest: digest('0b'), manifestDigest: digest('1b') };
const LEGACY: ExpectedImage = { reference: 'azaion/a:1', configDigest: null, manifestDigest: null };

describe('assertArchiveExpected', () => {
  const refusal = (code: string, reference: string): Error =>
    expect.objectContaining({
      code: `unlock.${code}`,
      message: expect.stringMatching(/^[A-Z].{15,}\.$/) as string,
      details: { reference },
    }) as Error;

  it('takes what was signed for, in any order and under any spelling', () => {
    expect(() => {
      assertArchiveExpected([OTHER, { ...IMAGE, reference: 'docker.io/azaion/a:1' }], [IMAGE, OTHER]);
    }).not.toThrow();
  });

  it('refuses an image that nobody signed for, and a lack of one, by their names', () => {
    expect(() => {
      assertArchiveExpected([IMAGE, OTHER], [IMAGE]);
    }).toThrow(refusal('image-unsigned', OTHER.reference));
    expect(() => {
      assertArchiveExpected([IMAGE], [IMAGE, OTHER]);
    }).toThrow(refusal('image-missing', OTHER.reference));
  });

  it.each(['configDigest', 'manifestDigest'] as const)('refuses an image with another %s, by its name', (member) => {
    expect(() => {
      assertArchiveExpected([OTHER, { ...IMAGE, [member]: digest('ff') }], [IMAGE, OTHER]);
    }).toThrow(refusal('image-mismatch', IMAGE.reference));
  });

  it('asks for no manifest where the archive or the statement has none, but for the configuration all the same', () => {
    const without = { ...IMAGE, manifestDigest: null };
    for (const [inArchive, expected] of [
      [without, IMAGE],
      [IMAGE, without],
      [without, without],
    ] as const) {
      expect(() => {
        assertArchiveExpected([inArchive], [expected]);
      }).not.toThrow();
      expect(() => {
        assertArchiveExpected([{ ...inArchive, configDigest: digest('ff') }], [expected]);
      }).toThrow(refusal('image-mismatch', IMAGE.reference));
    }
  });

  it('knows an archive of the older format by its tags alone', () => {
    expect(() => {
      assertArchiveExpected([IMAGE], [LEGACY]);
    }).not.toThrow();
  });
});

describe('notAsExpected', () => {
  const inEngine = (imageId: string, reference = IMAGE.reference): EngineImage => ({ reference, imageId });

  it('finds what the engine lacks or holds otherwise', () => {
    const expected = [IMAGE, OTHER];
    expect(notAsExpected([], expected, [])).toEqual(expected);
    expect(notAsExpected([inEngine(IMAGE.configDigest)], expected, [])).toEqual([OTHER]);
    expect(
      notAsExpected([inEngine(digest('ff')), inEngine(OTHER.configDigest, OTHER.reference)], expected, []),
    ).toEqual([IMAGE]);
  });

  it('takes no proof in the place of a digest that was signed', () => {
    const wrong = inEngine(digest('ff'));
    expect(notAsExpected([wrong], [IMAGE], [wrong])).toEqual([IMAGE]);
  });

  describe('of an archive of the older format', () => {
    const LATEST: ExpectedImage = { ...LEGACY, reference: 'azaion/a:latest' };

    it('believes a tag that names a version, and not "latest" in any spelling', () => {
      expect(notAsExpected([inEngine('sha256:x')], [LEGACY], [])).toEqual([]);
      for (const reference of ['azaion/a:latest', 'azaion/a', 'docker.io/azaion/a'])
        expect(notAsExpected([inEngine('sha256:x', reference)], [LATEST], [])).toEqual([LATEST]);
    });

    it('believes the ids that this very archive has left, and no others', () => {
      for (const expected of [LEGACY, LATEST]) {
        const proven = [inEngine('sha256:x', expected.reference)];
        expect(notAsExpected(proven, [expected], proven)).toEqual([]);
        expect(notAsExpected([inEngine('sha256:y', expected.reference)], [expected], proven)).toEqual([expected]);
      }
    });
  });
});

describe('notSignedFor', () => {
  it('finds what was loaded beside what is expected, whatever the spelling', () => {
    const loaded = [
      { reference: 'docker.io/azaion/a:1', imageId: IMAGE.configDigest },
      { reference: 'azaion/a:2', imageId: 'sha256:x' },
    ];
    expect(notSignedFor(loaded, [IMAGE])).toEqual([loaded[1]]);
  });
});
