/**
 * Puts made text into its place in a page that people write: between `<!-- NAME: … -->` and `<!-- end of NAME -->`, each on a line of its own.
 *
 * @throws Error when the page has no such place.
 */
export function withBlock(page: string, name: string, content: string): string {
  const block = new RegExp(`(<!-- ${name}: [^\\n]*-->\\n)[^]*?(<!-- end of ${name} -->)`);
  if (!block.test(page)) throw new Error(`The page has no place for ${name}.`);
  return page.replace(block, (_whole, begin: string, end: string) => `${begin}${content}\n${end}`);
}
