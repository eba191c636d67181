import { isValidName, NameError, resourceName } from './names.js';

const VALID = ['a', 'A', '7', 'detector.onnx', 'a.b-c_d', 'a..b', 'a.', 'CON', 'a'.repeat(200)];
const INVALID: readonly unknown[] = [
  '',
  '.',
  '..',
  '.hidden',
  '-flag',
  '_a',
  'a/b',
  '/a',
  'a\\b',
  '../a',
  '%2e%2e',
  'a%2fb',
  'a b',
  ' a',
  'a\n',
  'a\r',
  'a\0',
  'a\0.onnx',
  'a\t',
  'a:b',
  'a?b',
  'a#b',
  'a*',
  'dеtector', // Cyrillic е
  'ａ', // full-width a
  'a․b', // one dot leader
  'a∕b', // division slash
  'a\u202Eb', // right-to-left override
  'a\u200Db', // zero width joiner
  'e\u0301', // combining accent
  'é',
  'ſ', // lower case of it is s
  '\u212A', // Kelvin sign
  '\uD800',
  'a'.repeat(201),
  'a'.repeat(100_000),
  undefined,
  null,
  7,
  ['a'],
  { toString: (): string => 'a' },
];

describe('isValidName', () => {
  it.each(VALID)('accepts %j', (name) => expect(isValidName(name)).toBe(true));

  it.each(INVALID.map((name) => [name]))('refuses %j', (name) => expect(isValidName(name)).toBe(false));

  it('knows 62 characters to begin with, and three more to go on', () => {
    const all = Array.from({ length: 0x1_0000 }, (_, code) => String.fromCharCode(code));
    expect(all.filter((character) => isValidName(character))).toHaveLength(62);
    expect(all.filter((character) => isValidName(`a${character}`))).toHaveLength(65);
  });
});

describe('resourceName', () => {
  it('keeps both parts', () => {
    expect(resourceName('models', 'detector.onnx')).toEqual({ folder: 'models', name: 'detector.onnx' });
  });

  it.each([
    ['..', 'a', 'folder'],
    ['a', '..', 'filename'],
    ['..', '..', 'folder'],
  ])('names the part of %s/%s that is wrong, and does not repeat it', (folder, name, field) => {
    const refused = (): unknown => resourceName(folder, name);
    expect(refused).toThrow(NameError);
    expect(refused).toThrow(expect.objectContaining({ code: 'name.invalid', details: { field } }) as Error);
    expect(refused).not.toThrow('..');
  });
});
