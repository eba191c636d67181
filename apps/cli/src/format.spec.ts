import { forShell } from './format.js';

describe('forShell', () => {
  it.each([
    ['/var/lib/azaion-loader/device_keys.json', '/var/lib/azaion-loader/device_keys.json'],
    ['/media/my disk', "'/media/my disk'"],
    ['$(reboot)', "'$(reboot)'"],
    ["it's", `'it'\\''s'`],
    ['~root', "'~root'"],
    ['-rf', './-rf'],
    ['-my disk', "'./-my disk'"],
    ['', "''"],
  ])('writes the path %j as %j', (path, written) => {
    expect(forShell(path)).toBe(written);
  });
});
