import { type ResourceName, resourcePath } from '@azaion/kernel';

/** Most resources that one device or group may be told to hold, and that one report may name. */
export const MAX_DESIRED_RESOURCES = 256;

/** A version by its number, or whichever is the newest. */
export type WantedVersion = number | 'latest';

/** One resource in one version. */
export interface DesiredResource extends ResourceName {
  readonly version: WantedVersion;
}

/** What a device should hold, and which image archive it should run. Source: docs/reference/admin-http.md, "Desired state". */
export interface DesiredState {
  readonly resources: readonly DesiredResource[];
  /** `null` says nothing about images. */
  readonly images: DesiredResource | null;
}

/** What is wanted where nobody has said anything. */
export const NOTHING_DESIRED: DesiredState = { resources: [], images: null };

/** A group's wishes. */
export interface GroupDesired {
  readonly name: string;
  /** Where two groups name the same resource, the higher number counts; among equals the first name. */
  readonly priority: number;
  readonly desired: DesiredState;
}

/** A wish, and whose it is. */
export interface EffectiveResource extends DesiredResource {
  /** `device`, or `group:` and its name. */
  readonly from: string;
}

/** What a device is told once everybody's wishes have been put together. */
export interface EffectiveState {
  /** In the order of folder and name. */
  readonly resources: readonly EffectiveResource[];
  readonly images: EffectiveResource | null;
}

/** Puts the wishes for one device together: its own come before its groups', and a higher priority before a lower one. */
export function effectiveState(own: DesiredState, groups: readonly GroupDesired[]): EffectiveState {
  const layers = [
    { from: 'device', desired: own },
    ...groups
      .toSorted((one, other) => other.priority - one.priority || compareTexts(one.name, other.name))
      .map(({ name, desired }) => ({ from: `group:${name}`, desired })),
  ];
  const resources = new Map<string, EffectiveResource>();
  let images: EffectiveResource | null = null;
  for (const { from, desired } of layers) {
    for (const wanted of desired.resources) {
      const key = resourcePath(wanted);
      if (!resources.has(key)) resources.set(key, { ...wanted, from });
    }
    if (desired.images !== null) images ??= { ...desired.images, from };
  }
  const inOrder = [...resources].toSorted(([one], [other]) => compareTexts(one, other));
  return { resources: inOrder.map(([, wanted]) => wanted), images };
}

/** Every resource and archive that a state names. */
export function namedBy<Wanted extends DesiredResource>(state: {
  readonly resources: readonly Wanted[];
  readonly images: Wanted | null;
}): readonly Wanted[] {
  return state.images === null ? state.resources : [...state.resources, state.images];
}

function compareTexts(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
