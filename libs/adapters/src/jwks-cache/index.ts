export { CachedJwksSource } from './cached-jwks-source.js';
