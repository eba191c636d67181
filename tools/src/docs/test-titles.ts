import ts from 'typescript';

const RUNNERS: ReadonlySet<string> = new Set(['describe', 'describeWith', 'it', 'test']);

/**
 * The titles of the suites and tests that a source has: arguments of calls, so neither comments nor texts count, nor what is skipped. Of a title
 * with places for values it is what stands in the source.
 */
export function testTitles(source: string): ReadonlySet<string> {
  const titles = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node)) {
      const [runner = '', ...kinds] = calledName(node.expression);
      if (RUNNERS.has(runner)) {
        if (kinds.includes('skip') || kinds.includes('todo')) return;
        const title = node.arguments[runner === 'describeWith' ? 1 : 0];
        if (title !== undefined && ts.isStringLiteralLike(title)) titles.add(title.text);
        else if (title !== undefined && ts.isTemplateExpression(title)) titles.add(title.getText().slice(1, -1));
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('suite.ts', source, ts.ScriptTarget.Latest, true));
  return titles;
}

/** `it.each(…)` is `it`, `each`. */
function calledName(callee: ts.Expression): readonly string[] {
  if (ts.isIdentifier(callee)) return [callee.text];
  if (ts.isPropertyAccessExpression(callee)) return [...calledName(callee.expression), callee.name.text];
  if (ts.isCallExpression(callee)) return calledName(callee.expression);
  if (ts.isTaggedTemplateExpression(callee)) return calledName(callee.tag);
  return [];
}
