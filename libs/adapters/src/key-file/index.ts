export { addKeyEncryptionKey, FileKeyVault, type FileKeyVaultOptions } from './file-key-vault.js';
