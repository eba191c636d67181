/** An object as Kubernetes takes it. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
}

/** A class of `kubernetes-models`. */
interface Model {
  readonly prototype: { validate(this: unknown): void };
}

/**
 * What is wrong with an object, by the schema of its kind: fields that are missing or of the wrong type, and fields that the schema does not know, which
 * a cluster would drop in silence. Empty when all is well.
 *
 * @throws Error for a kind that Kubernetes does not have.
 */
export async function problemsOf(object: KubernetesObject): Promise<string[]> {
  const { apiVersion, kind } = object;
  const path = `kubernetes-models/${apiVersion}/${kind}`;
  const models = (await import(path).catch((cause: unknown) => {
    throw new Error(`Kubernetes has no ${kind} in ${apiVersion}.`, { cause });
  })) as Readonly<Record<string, Model>>;
  const model = models[kind];
  if (model === undefined) throw new Error(`Kubernetes has no ${kind} in ${apiVersion}.`);
  const read = new Map<object, Set<PropertyKey>>();
  try {
    model.prototype.validate.call(recording(object, read));
  } catch (error) {
    return [`${kind} ${object.metadata.name}: ${error instanceof Error ? error.message : 'not valid'}`];
  }
  return unread(object, kind, read);
}

/** The validators are compiled, so the fields they know are those that they look at: the object is handed out as a proxy that takes notes. */
function recording(value: unknown, read: Map<object, Set<PropertyKey>>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const seen = read.get(value) ?? new Set<PropertyKey>();
  read.set(value, seen);
  return new Proxy(value, {
    get: (target, key) => {
      seen.add(key);
      return recording(Reflect.get(target, key), read);
    },
  });
}

function unread(value: unknown, path: string, read: ReadonlyMap<object, ReadonlySet<PropertyKey>>): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const seen = read.get(value);
  return Object.entries(value).flatMap(([key, field]) => {
    const place = `${path}.${key}`;
    return seen !== undefined && !seen.has(key) ? [`${place} is not known`] : unread(field, place, read);
  });
}
