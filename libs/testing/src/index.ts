export { startBrowser, type TestBrowser, type WatchedPage } from './browser.js';
export {
  COMPONENTS,
  COMPOSES,
  type ComponentName,
  describeWith,
  findProgram,
  installHint,
  whyUnavailable,
} from './components.js';
export { type DockerDaemon, startDockerd } from './docker-daemon.js';
export { type CdnFault, type FaultyCdn, startFaultyCdn } from './faulty-cdn.js';
export { freePort, nobodyListens } from './free-port.js';
export { type GeneratedImage, type GeneratedLayer, type ImageArchive, imageArchive } from './image-archive.js';
export { type PostgresServer, startPostgres } from './postgres-server.js';
export { type OlderAccount, OlderAdminApi } from './older-admin-api.js';
export { type ProcessClock, processClock } from './process-clock.js';
export { descendantsOf, forgetPeakMemory, processTreeMemory, type TreeMemory } from './process-memory.js';
export { pseudoRandomBytes, pseudoRandomStream } from './pseudo-random.js';
export { type RoundRobin, startRoundRobin } from './round-robin.js';
export { type S3Service, startRadosGateway } from './rados-gateway.js';
export { runCommand } from './run-command.js';
export {
  answersHttp,
  type ProcessEnd,
  type ProcessOptions,
  type Readiness,
  type RunningProcess,
  startProcess,
} from './running-process.js';
export { type GeneratedModel, safetensorsModel, safetensorsModelBytes } from './safetensors-model.js';
export { selfSignedCertificate, type TestCertificate } from './self-signed-certificate.js';
export { type S3Credentials, signedS3Request } from './signed-s3-request.js';
export { smallDisk } from './small-disk.js';
export {
  type SoftwareTpm,
  type SoftwareTpmOptions,
  startSoftwareTpm,
  testTpmAuthority,
  type TestTpmAuthority,
} from './software-tpm.js';
export { type LinkConditions, startTcpProxy, type TcpProxy } from './tcp-proxy.js';
export { type TempDirectory, tempDirectory } from './temp-directory.js';
