import { asResult, median, rounded } from './bench-result.js';

describe('median', () => {
  it.each([
    [[3], 3],
    [[5, 1, 3], 3],
    [[4, 1, 3, 2], 2],
  ])('of %j is %i', (values, expected) => expect(median(values)).toBe(expected));

  it('refuses to be of nothing', () => expect(() => median([])).toThrow(RangeError));
});

describe('asResult', () => {
  it('names machine, date and the command that repeats it', () => {
    const result = asResult({ id: 'P7', bar: 'small', value: rounded(1.23456), unit: '×', ok: true, peers: {} });
    expect(result).toMatchObject({ value: 1.23, command: 'npm run bench -- --only P7 --json' });
    expect(result.machine).toContain(process.version);
    expect(Number.isNaN(Date.parse(result.date))).toBe(false);
  });
});
