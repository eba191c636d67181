import { asResult, median, type Measurement } from './bench-result.js';

describe('median', () => {
  it.each([
    [[3], 3],
    [[5, 1, 3], 3],
    [[4, 1, 3, 2], 2],
  ])('of %j is %i', (values, expected) => expect(median(values)).toBe(expected));

  it('refuses to be of nothing', () => expect(() => median([])).toThrow(RangeError));
});

describe('asResult', () => {
  const measurement: Measurement = {
    id: 'P7',
    bar: 'small',
    value: 1.23456,
    unit: '×',
    limit: 1.23456,
    direction: 'max',
    peers: {},
  };

  it('names machine, date and the command that repeats it', () => {
    const result = asResult(measurement);
    expect(result).toMatchObject({ value: 1.23, command: 'npm run bench -- --only P7 --json' });
    expect(result.machine).toContain(process.version);
    expect(Number.isNaN(Date.parse(result.date))).toBe(false);
  });

  it.each([
    ['max', 1.23456, true],
    ['max', 1.23457, false],
    ['min', 1.23456, true],
    ['min', 1.23455, false],
  ] as const)('holds the figure itself, not the rounded one, against its limit: %s, %d', (direction, value, ok) => {
    expect(asResult({ ...measurement, direction, value }).ok).toBe(ok);
  });

  it('neither holds nor misses what could not be measured', () => {
    expect(asResult({ ...measurement, value: NaN })).toMatchObject({ value: null, ok: true });
  });
});
