export { FileStatementTrust, type StatementDocuments, type StatementTrustOptions } from './file-statement-trust.js';
export { parseRootKey, type RootKey, rootKeyProblem } from './root-key.js';
