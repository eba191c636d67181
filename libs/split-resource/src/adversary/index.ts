export {
  type KnownPlaintext,
  proveSplit,
  type SplitEvidence,
  type SplitProof,
  type SplitTrial,
} from './prove-split.js';
export { type OpenedVersion, openWithEverything } from './sealed-control.js';
export type { StoredBytes } from './stored-bytes.js';
export type { WrappedSecret } from './wrapped-secret.js';
