/** How a resource is cut. It stands in the recipe; a reader never needs the chunker. */
export interface ChunkingParameters {
  readonly algorithm: 'fastcdc-nc2-gear32';
  readonly minBytes: number;
  readonly averageBytes: number;
  readonly maxBytes: number;
}

/** The only parameters of format version 2. */
export const CHUNKING: ChunkingParameters = {
  algorithm: 'fastcdc-nc2-gear32',
  minBytes: 32 * 1024,
  averageBytes: 128 * 1024,
  maxBytes: 512 * 1024,
};
