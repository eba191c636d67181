import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { parseAllowList } from '@azaion/adapters/legacy-archive';
import { certificatesProblem } from '@azaion/adapters/resource-api';
import { rootKeyProblem } from '@azaion/adapters/trust-store';
import type { Environment } from '@azaion/nest-support';

/** What is wrong with the content of a file, as the end of a sentence that starts with its variable; never the content. */
type ContentCheck = (text: string) => string | undefined;

/** Files that are read at the start: that they can be, and hold what they must, is checked with everything else. */
const FILES: Readonly<Record<string, ContentCheck>> = {
  API_CA_FILE: certificatesProblem,
  UNLOCK_ALLOWED_IMAGES_FILE: allowListProblem,
  UNLOCK_COMPOSE_FILE: () => undefined, // for compose to judge
  STATEMENT_ROOT_KEY_FILE: rootKeyProblem,
  LOADER_TLS_CERT_FILE: certificatesProblem,
  LOADER_TLS_KEY_FILE: privateKeyProblem,
  TPM_POLICY_KEY_FILE: () => undefined, // both are judged where a TPM is used, by their names too
  TPM_POLICY_FILE: () => undefined,
};

/** The problems of all files that the environment names. */
export function configuredFileProblems(env: Environment): string[] {
  const problems: string[] = [];
  const texts = new Map<string, string>();
  for (const [name, check] of Object.entries(FILES)) {
    const path = env[name];
    if (path === undefined || path === '') continue;
    try {
      const text = readFileSync(path, 'utf8');
      const problem = check(text);
      if (problem === undefined) texts.set(name, text);
      else problems.push(`${name}: ${problem}`);
    } catch (error) {
      problems.push(`${name}: the file cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown reason'})`);
    }
  }
  const [cert, key] = [texts.get('LOADER_TLS_CERT_FILE'), texts.get('LOADER_TLS_KEY_FILE')];
  if (cert !== undefined && key !== undefined && !new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)))
    problems.push('LOADER_TLS_KEY_FILE: is not the key of the first certificate in LOADER_TLS_CERT_FILE');
  return problems;
}

function privateKeyProblem(text: string): string | undefined {
  try {
    createPrivateKey(text);
    return undefined;
  } catch {
    return 'the file holds no private key in PEM form that opens without a passphrase';
  }
}

function allowListProblem(text: string): string | undefined {
  try {
    parseAllowList(text);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : 'cannot be used';
  }
}
