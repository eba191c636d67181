import { nameForFile, parseResourceReference, parseServiceUrl, parseVersion } from './resource-reference.js';

describe('parseResourceReference', () => {
  it('reads FOLDER/NAME', () => {
    expect(parseResourceReference('models/a-b_c.1.onnx')).toEqual({ folder: 'models', name: 'a-b_c.1.onnx' });
  });

  it.each(['', 'models', '/', 'models/', '/x', 'a/b/c', '../x', 'models/..', 'models/.x', 'a b/c', 'ä/b', 'a/%2e%2e'])(
    'refuses %j',
    (text) => {
      expect(() => parseResourceReference(text)).toThrow();
    },
  );
});

describe('nameForFile', () => {
  it("takes the file's own name, or the one given", () => {
    expect(nameForFile('/some/where/m.onnx', 'models', undefined)).toEqual({ folder: 'models', name: 'm.onnx' });
    expect(nameForFile('/some/where/odd name', 'models', 'm')).toEqual({ folder: 'models', name: 'm' });
  });

  it('asks for a name when the file has one that no resource can have', () => {
    expect(() => nameForFile('/some/where/odd name', 'models', undefined)).toThrow('odd name');
  });
});

describe('parseVersion', () => {
  it.each([
    ['1', 1],
    ['4294967295', 4_294_967_295],
  ])('reads %s', (text, version) => {
    expect(parseVersion(text)).toBe(version);
  });

  it.each(['', '0', '-1', '1.5', '1e3', '0x1', ' 1', 'latest', '4294967296', '99999999999'])('refuses %j', (text) => {
    expect(() => parseVersion(text)).toThrow('not a version');
  });
});

describe('parseServiceUrl', () => {
  it.each([
    ['https://api.example', 'https://api.example'],
    ['https://api.example/base/', 'https://api.example/base'],
    ['http://127.0.0.1:8081/', 'http://127.0.0.1:8081'],
    ['http://localhost:1', 'http://localhost:1'],
    ['http://[::1]:1', 'http://[::1]:1'],
  ])('takes %s', (text, url) => {
    expect(parseServiceUrl(text, '--api', false)).toBe(url);
  });

  it.each([
    'api.example',
    'ftp://api.example',
    'http://api.example',
    'http://127.0.0.1.example',
    'https://user:secret@api.example',
    'https://user@api.example',
    '',
  ])('refuses %j', (text) => {
    expect(() => parseServiceUrl(text, '--api', false)).toThrow('--api');
  });

  it('takes plain HTTP to another machine where that is permitted', () => {
    expect(parseServiceUrl('http://api.example', '--api', true)).toBe('http://api.example');
  });
});
