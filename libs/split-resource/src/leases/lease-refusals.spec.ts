import { ResourceError } from '../errors.js';
import { InMemoryRefusalMarkStore } from '../testing/in-memory-lease-store.js';
import { LeaseRefusals } from './lease-refusals.js';

const NOW = 1_800_000_000;
const DAY = 86_400;
const resource = { folder: 'models', name: 'a' };
const name = { resource, version: 3 };

let store: InMemoryRefusalMarkStore;
let refusals: LeaseRefusals;

beforeEach(() => {
  store = new InMemoryRefusalMarkStore();
  refusals = new LeaseRefusals(store);
});

const isRefused = async (issuedAt: number, of = name): Promise<boolean> =>
  (await refusals.whyRefused(of, issuedAt)) !== undefined;

describe('LeaseRefusals', () => {
  it('refuse nothing at first', async () => {
    expect(await isRefused(1)).toBe(false);
  });

  it.each([
    [-DAY, true],
    [0, true],
    [1, true],
    [2, false],
  ])('judge a grant that was made %i seconds after the refusal', async (after, refused) => {
    await refusals.refused(resource, 3, NOW);
    expect(await isRefused(NOW + after)).toBe(refused);
    expect(await isRefused(NOW + after, { resource, version: 2 })).toBe(false);
    expect(await isRefused(NOW + after, { resource: { folder: 'models', name: 'b' }, version: 3 })).toBe(false);
  });

  it('keep the later of two refusals', async () => {
    await refusals.refused(resource, undefined, NOW);
    await refusals.refused(resource, undefined, NOW - DAY);
    await refusals.refused(resource, 3, NOW - DAY);
    expect(await isRefused(NOW)).toBe(true);
    await refusals.revoked(NOW);
    await refusals.revoked(NOW - DAY);
    expect(await isRefused(NOW, { resource: { folder: 'b', name: 'b' }, version: 1 })).toBe(true);
  });

  it('outlive this process', async () => {
    await refusals.refused(resource, 3, NOW);
    refusals = new LeaseRefusals(store);
    expect(await isRefused(NOW)).toBe(true);
  });

  it('hold until the process ends when the disk is full', async () => {
    store.write = () => Promise.reject(new ResourceError('resource.no-space', 'The disk is full as told.'));
    await refusals.refused(resource, 3, NOW);
    await refusals.revoked(NOW - DAY);
    expect([await isRefused(NOW), await isRefused(NOW - DAY, { resource, version: 1 })]).toEqual([true, true]);
  });

  it('forget what no grant can outlive', async () => {
    await refusals.refused(resource, 3, NOW);
    await refusals.refused(resource, 4, NOW + 90 * DAY);
    expect([...store.marks.resources.keys()]).toEqual(['models/a/3', 'models/a/4']);
    await refusals.refused(resource, 5, NOW + 90 * DAY + 1);
    expect([...store.marks.resources.keys()]).toEqual(['models/a/4', 'models/a/5']);
  });

  it('refuse more, never less, when there are more than are kept one by one', async () => {
    store.marks = {
      deviceSeconds: 0,
      resources: new Map(Array.from({ length: 10_000 }, (_, index) => [`models/b${String(index)}`, NOW + index])),
    };
    await refusals.refused(resource, 3, NOW + 20_000);
    expect(store.marks.resources.size).toBe(10_000);
    expect(store.marks.deviceSeconds).toBe(NOW);
  });

  it('lie in the past of what the Admin API signs now', async () => {
    await refusals.refused(resource, 3, NOW + DAY);
    await refusals.revoked(NOW + DAY);
    await refusals.assertPast(NOW);
    expect([await isRefused(NOW + 1), await isRefused(NOW + 2)]).toEqual([true, false]);
  });
});
