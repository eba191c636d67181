/**
 * Works on several items at once and gives out the results in the order of the items.
 *
 * @param parallelism - Most items in work or waiting to be given out, 1 or more.
 */
export async function* inOrder<Item, Result>(
  items: Iterable<Item>,
  parallelism: number,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result, void> {
  const begun: Promise<Result>[] = [];
  for (const item of items) {
    const result = work(item);
    result.catch(() => undefined); // reported when its turn comes
    if (begun.push(result) === parallelism) yield await (begun.shift() as Promise<Result>);
  }
  for (const result of begun) yield await result;
}
