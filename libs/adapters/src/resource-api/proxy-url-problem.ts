/**
 * Checks the URL of a proxy, which may hold a password.
 *
 * @returns What is wrong with it, as the end of a sentence that starts with its name; never the URL. `undefined` when it may be used.
 */
export function proxyUrlProblem(text: string): string | undefined {
  return isProxyUrl(text)
    ? undefined
    : 'must be a URL such as http://proxy.example:3128, with "%" and other marks of a password encoded';
}

function isProxyUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, pathname, search, hash } = new URL(text);
  try {
    decodeURIComponent(username + password);
  } catch {
    return false;
  }
  return /^https?:$/.test(protocol) && pathname === '/' && search === '' && hash === '';
}
