import { resourcePath } from '@azaion/kernel';
import fc from 'fast-check';

import { type DesiredResource, effectiveState, type GroupDesired, NOTHING_DESIRED } from './desired-state.js';

const model = (version: DesiredResource['version'], name = 'detector.onnx') => ({ folder: 'models', name, version });
const images = (version: DesiredResource['version']) => ({ folder: 'images', name: 'set', version });
const group = (name: string, priority: number, desired: Partial<GroupDesired['desired']>): GroupDesired => ({
  name,
  priority,
  desired: { ...NOTHING_DESIRED, ...desired },
});

describe('effectiveState', () => {
  it('wants nothing where nobody has said anything', () => {
    expect(effectiveState(NOTHING_DESIRED, [])).toEqual({ resources: [], images: null });
  });

  it('puts the wishes of all groups together, each with whose it is', () => {
    const groups = [
      group('all', 0, { resources: [model(1)], images: images(3) }),
      group('dev', 0, { resources: [model('latest', 'b')] }),
    ];
    expect(effectiveState(NOTHING_DESIRED, groups)).toEqual({
      resources: [
        { ...model('latest', 'b'), from: 'group:dev' },
        { ...model(1), from: 'group:all' },
      ],
      images: { ...images(3), from: 'group:all' },
    });
  });

  it('lets a device’s own wish come before every group’s, whatever its priority', () => {
    const own = { resources: [model(2)], images: images(2) };
    const groups = [group('all', 1_000_000, { resources: [model(9)], images: images(9) })];
    const { resources, images: run } = effectiveState(own, groups);
    expect(resources).toEqual([{ ...model(2), from: 'device' }]);
    expect(run).toEqual({ ...images(2), from: 'device' });
  });

  it.each([
    ['the higher priority', 1, 0, 'group:b'],
    ['the first name among equals', 0, 0, 'group:a'],
    ['the lower name where its priority is higher', 0, 1, 'group:a'],
  ])('takes %s where two groups name the same resource', (_, ofB, ofA, from) => {
    const groups = [group('b', ofB, { resources: [model(2)] }), group('a', ofA, { resources: [model(1)] })];
    expect(effectiveState(NOTHING_DESIRED, groups).resources[0]?.from).toBe(from);
  });

  it('does not depend on the order in which groups are read, and names no resource twice', () => {
    const wanted = fc.record({
      folder: fc.constantFrom('a', 'b'),
      name: fc.constantFrom('x', 'y'),
      version: fc.oneof(fc.constant('latest' as const), fc.integer({ min: 1, max: 9 })),
    });
    const desired = fc.record({
      resources: fc.uniqueArray(wanted, { selector: resourcePath }),
      images: fc.option(wanted),
    });
    const groups = fc.uniqueArray(
      fc.record({ name: fc.constantFrom('a', 'b', 'c'), priority: fc.integer({ min: -1, max: 1 }), desired }),
      { selector: ({ name }) => name },
    );
    fc.assert(
      fc.property(desired, groups, (own, all) => {
        const state = effectiveState(own, all);
        expect(effectiveState(own, all.toReversed())).toEqual(state);
        const paths = state.resources.map(resourcePath);
        expect(paths).toEqual([...new Set(paths)].toSorted());
        expect(new Set(paths)).toEqual(
          new Set([own, ...all.map((each) => each.desired)].flatMap((each) => each.resources.map(resourcePath))),
        );
      }),
    );
  });
});
