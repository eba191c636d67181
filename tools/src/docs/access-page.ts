import { accessTable, type DescribedAccess } from '@azaion/nest-support';

/** Where the page lies in the workspace. */
export const ACCESS_PAGE = 'docs/reference/access.md';

/** The page that says which role may call which route of the Admin API. @param document - What it serves at `/docs/json`. */
export function accessPage(document: DescribedAccess): string {
  return `# Who may call what

Made by \`npm run docs\` from the rules that the guards of the Admin API read, checked by a test. A route without a rule is nobody's. Beside the role, reading and writing need the
permission of the [folder](admin-http.md), and the account, session and device must be in good standing at the moment of the call.

${accessTable(document)}
`;
}
