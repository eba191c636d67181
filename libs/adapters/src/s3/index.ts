export { s3Client, type S3ClientOptions, statusOf } from './s3-client.js';
export { S3ObjectStore, type S3ObjectStoreOptions } from './s3-object-store.js';
