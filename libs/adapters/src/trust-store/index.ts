export { FileStatementTrust, type StatementDocuments, type StatementTrustOptions } from './file-statement-trust.js';
export { parseRootKey, type RootKey } from './root-key.js';
