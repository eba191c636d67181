export { HttpPackSink } from './http-pack-sink.js';
export { HttpPackSource, type HttpPackSourceOptions } from './http-pack-source.js';
