export { ChunkWorkerPool, type ChunkWorkerPoolOptions } from './chunk-worker-pool.js';
