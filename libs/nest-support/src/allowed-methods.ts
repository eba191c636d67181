/** Knows which methods a path has, to tell 405 from 404 (RFC 9110 §15.5.6). */
export class AllowedMethods {
  private readonly routes: { readonly methods: readonly string[]; readonly pattern: RegExp }[] = [];

  /**
   * @param path - A route's path as the router knows it: `:name` stands for one segment, `*` for the rest.
   */
  add(methods: string | readonly string[], path: string): void {
    const segments = path.split('/').map((segment) => {
      if (segment === '*') return '.*';
      return segment.startsWith(':') ? '[^/]+' : segment.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    });
    this.routes.push({ methods: [methods].flat(), pattern: new RegExp(`^${segments.join('/')}$`) });
  }

  /** The methods of a path, sorted; empty when there is nothing at all. */
  of(path: string): readonly string[] {
    const methods = this.routes.filter(({ pattern }) => pattern.test(path)).flatMap((route) => route.methods);
    return [...new Set(methods)].sort();
  }
}
