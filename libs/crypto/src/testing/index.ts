export { describeKeyVault } from './key-vault-contract.js';
