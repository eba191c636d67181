import { format, inspect } from 'node:util';

import { Secret } from './secret.js';

describe('Secret', () => {
  const VALUE = 'correct horse battery staple';
  const secret = new Secret(VALUE);

  it('reveals its value when asked', () => {
    expect(secret.reveal()).toBe(VALUE);
    const key = new Uint8Array(32);
    expect(new Secret(key).reveal()).toBe(key);
  });

  it.each([
    ['toString', (): string => secret.toString()],
    ['String', () => String(secret)],
    ['a template', () => `secret: ${secret as unknown as string}`],
    ['concatenation', () => 'secret: '.concat(secret as unknown as string)],
    ['JSON', () => JSON.stringify(secret)],
    ['JSON of an object around it', () => JSON.stringify({ deep: [{ secret }] })],
    ['inspect', () => inspect(secret)],
    ['inspect with everything shown', () => inspect({ secret }, { showHidden: true, depth: 9, getters: true })],
    ['format', () => format('%s %o %O %j', secret, secret, secret, secret)],
    ['an error', () => inspect(new Error('failed', { cause: secret }))],
  ])('prints as [redacted] through %s', (_name, print) => {
    expect(print()).toContain('[redacted]');
    expect(print()).not.toContain('horse');
  });

  it.each([
    ['keys', (): unknown => Object.keys(secret)],
    ['own property names', () => Object.getOwnPropertyNames(secret)],
    ['a spread', () => Object.assign({}, secret)],
    ['entries', () => Object.entries(secret)],
  ])('has nothing to find through %s', (_name, look) => {
    expect(JSON.stringify(look())).toMatch(/^(\[\]|\{\})$/);
  });
});
