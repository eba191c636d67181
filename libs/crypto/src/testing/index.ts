export { InMemoryKeyVault } from './in-memory-key-vault.js';
export { describeKeyVault } from './key-vault-contract.js';
