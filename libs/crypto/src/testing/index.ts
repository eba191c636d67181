export { aStatement } from './a-statement.js';
export { describeKeyVault } from './key-vault-contract.js';
