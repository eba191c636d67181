export { type DeviceAccountCredentials, enrolDevice, type Enrolment, type EnrolmentApi } from './enrol-device.js';
export { type AccessTokens, fixedToken } from './access-tokens.js';
export { ApiClient, type ApiClientOptions, apiUrlProblem } from './api-client.js';
export { type EnrolmentActivation, HttpAuthApi, type IssuedTokens } from './http-auth-api.js';
export { certificatesProblem } from './certificates-problem.js';
export { type CatalogueEntry, HttpCatalogue } from './http-catalogue.js';
export {
  type DesiredState,
  type DeviceReport,
  HttpDesiredApi,
  type TaggedState,
  type WantedResource,
} from './http-desired-api.js';
export { HttpDeviceGrants } from './http-device-grants.js';
export { HttpGrantApi } from './http-grant-api.js';
export { HttpJwksSource } from './http-jwks-source.js';
export { HttpKeySource } from './http-key-source.js';
export { HttpUploadApi } from './http-upload-api.js';
export { HttpWellKnown } from './http-well-known.js';
export { proxyUrlProblem } from './proxy-url-problem.js';
