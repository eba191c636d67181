export {
  adminApiClient,
  type AdminApiClient,
  loaderClient,
  type LoaderClient,
  type ServiceClientOptions,
} from './service-clients.js';
