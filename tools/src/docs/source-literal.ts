import ts from 'typescript';

/** A member of an object that stands in a source. */
export interface LiteralMember {
  readonly name: string;
  /** Texts, numbers and objects of these. */
  readonly value: unknown;
  /** The comment behind it on its line. */
  readonly remark: string;
}

/**
 * The members of the object that a constant of a source is made of, in their order.
 *
 * @throws Error when there is no such constant, or it holds more than texts, numbers and objects.
 */
export function literalMembers(source: string, constant: string): readonly LiteralMember[] {
  const file = ts.createSourceFile('source.ts', source, ts.ScriptTarget.Latest, true);
  let found: ts.ObjectLiteralExpression | undefined;
  const visit = (node: ts.Node): void => {
    if (ts.isVariableDeclaration(node) && node.name.getText() === constant && node.initializer !== undefined) {
      const value = bare(node.initializer);
      if (ts.isObjectLiteralExpression(value)) found = value;
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  if (found === undefined) throw new Error(`There is no object ${constant}.`);
  return found.properties.map((member) => ({
    ...memberOf(member),
    remark: /^,?[ \t]*\/\/ (.*)/.exec(source.slice(member.getEnd()))?.[1] ?? '',
  }));
}

function memberOf(member: ts.ObjectLiteralElementLike): { readonly name: string; readonly value: unknown } {
  if (!ts.isPropertyAssignment(member)) throw new Error(`${member.getText()} is not read here.`);
  const { name } = member;
  return {
    name: ts.isStringLiteral(name) || ts.isIdentifier(name) || ts.isNumericLiteral(name) ? name.text : name.getText(),
    value: valueOf(bare(member.initializer)),
  };
}

function valueOf(node: ts.Expression): unknown {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isNumericLiteral(node)) return Number(node.text);
  if (ts.isObjectLiteralExpression(node))
    return Object.fromEntries(node.properties.map(memberOf).map(({ name, value }) => [name, value]));
  throw new Error(`${node.getText()} is not read here.`);
}

/** Without `as const` and `satisfies`. */
function bare(node: ts.Expression): ts.Expression {
  return ts.isAsExpression(node) || ts.isSatisfiesExpression(node) ? bare(node.expression) : node;
}
