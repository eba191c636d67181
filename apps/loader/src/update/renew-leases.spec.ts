import type { Caller } from '@azaion/identity';
import type { ResourceName } from '@azaion/kernel';
import { type HeldLease, type HeldLeases, type OpenedResource, ResourceError } from '@azaion/split-resource';

import type { TokenBearer } from '../session/caller-apis.js';
import type { Opening } from '../session/open-for-caller.js';
import { RenewLeases } from './renew-leases.js';

const ISSUED_SECONDS = 1_800_000_000;
const LIFE_SECONDS = 604_800;
const HALF_SECONDS = LIFE_SECONDS / 2;
const MODEL = { folder: 'models', name: 'a.onnx' };
const OTHER = { folder: 'models', name: 'b.onnx' };
const BEARER: TokenBearer = { caller: { userId: 'azj-0001' } as Caller, token: 'own' };
const { signal } = new AbortController();

let held: HeldLease[];
let nowSeconds: number;
/** What the Admin API answers to a path, where it refuses. */
let refusals: Map<string, Error>;
let steps: string[];
let openings: Opening[];

const lease = (resource: ResourceName, version: number): HeldLease =>
  ({
    resource,
    version,
    token: { issuedAt: ISSUED_SECONDS, notAfter: ISSUED_SECONDS + LIFE_SECONDS },
  }) as Partial<HeldLease> as HeldLease;

const renewal = (jitter = 0): RenewLeases =>
  new RenewLeases({
    leases: {
      all: () => Promise.resolve(held),
      dropExpired: () => Promise.resolve(void steps.push('drop expired')),
      refused: ({ name }: ResourceName, version?: number) =>
        Promise.resolve(void steps.push(`drop ${name}@${String(version ?? 'all')}`)),
    } as Partial<HeldLeases> as HeldLeases,
    open: {
      open: ({ name }, opening, bearer, given) => {
        expect([bearer, given]).toEqual([BEARER, signal]);
        const path = `${name}@${String(opening.version)}`;
        steps.push(`open ${path}`);
        openings.push(opening);
        const refusal = refusals.get(path);
        return refusal === undefined ? Promise.resolve({} as OpenedResource) : Promise.reject(refusal);
      },
    },
    time: { effectiveMs: () => nowSeconds * 1000 },
    bearer: () => Promise.resolve(BEARER),
    jitter,
  });

beforeEach(() => {
  held = [lease(MODEL, 3), lease(MODEL, 2), lease(MODEL, 1), lease(OTHER, 7)];
  nowSeconds = ISSUED_SECONDS + HALF_SECONDS;
  refusals = new Map();
  steps = [];
  openings = [];
});

describe('RenewLeases', () => {
  it('asks anew for the newest version of each resource, once what has expired is gone', async () => {
    expect(await renewal().run([], signal)).toBe(2);
    expect(steps).toEqual(['drop expired', 'open a.onnx@3', 'open b.onnx@7']);
  });

  it('asks the Admin API itself, by number, and moves no mark', async () => {
    await renewal().run([], signal);
    expect(openings[0]).toEqual({ version: 3, movesMark: false, lease: 'never' });
  });

  it('asks for an older version as long as it is pinned', async () => {
    expect(await renewal().run([{ ...MODEL, version: 1 }], signal)).toBe(3);
    expect(steps).toEqual(['drop expired', 'open a.onnx@3', 'open a.onnx@1', 'open b.onnx@7']);
  });

  it.each([
    [0, HALF_SECONDS],
    [0.5, LIFE_SECONDS * 0.55],
    [1, LIFE_SECONDS * 0.6],
  ])('with a jitter of %d is due %d seconds after the grant, and not a second before', async (jitter, dueSeconds) => {
    nowSeconds = Math.ceil(ISSUED_SECONDS + dueSeconds) - 1;
    expect(await renewal(jitter).run([{ ...MODEL, version: 1 }], signal)).toBe(0);
    expect(steps).toEqual(['drop expired']);
    nowSeconds += 1;
    expect(await renewal(jitter).run([], signal)).toBe(2);
  });

  it('forgets a version that was withdrawn, and that one only', async () => {
    refusals.set('a.onnx@3', new ResourceError('resource.not-found', 'withdrawn'));
    expect(await renewal().run([], signal)).toBe(1);
    expect(steps).toEqual(['drop expired', 'open a.onnx@3', 'drop a.onnx@3', 'open b.onnx@7']);
  });

  it('forgets every version of what the device may no longer read', async () => {
    refusals.set('a.onnx@3', new ResourceError('resource.forbidden', 'closed'));
    expect(await renewal().run([], signal)).toBe(1);
    expect(steps).toEqual(['drop expired', 'open a.onnx@3', 'drop a.onnx@all', 'open b.onnx@7']);
  });

  it.each([
    new ResourceError('api.unreachable', 'down'),
    new ResourceError('api.unauthorized', 'refused'),
    new ResourceError('resource.integrity', 'damaged'),
    new TypeError('unexpected'),
  ])('forgets nothing for any other reason, and says it: $name $code', async (error) => {
    refusals.set('a.onnx@3', error);
    await expect(renewal().run([], signal)).rejects.toBe(error);
    expect(steps).toEqual(['drop expired', 'open a.onnx@3']);
  });
});
