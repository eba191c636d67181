export {
  ACCESS_RULE,
  type AccessRule,
  AllowRoles,
  AllowScrape,
  AnyRole,
  callerOf,
  CurrentCaller,
  OptionalCaller,
  Public,
} from './access.js';
export { accessTable, type DescribedAccess } from './access-table.js';
export {
  ConfigError,
  EnvFlag,
  EnvInteger,
  type Environment,
  EnvList,
  EnvSecret,
  EnvText,
  printConfig,
  readConfig,
} from './config.js';
export { type AppOptions, createApp } from './create-app.js';
export { BearerGuard, RolesGuard } from './guards.js';
export { HealthModule, type HealthModuleOptions, type HealthPlan, HealthProbes } from './health.module.js';
export { type CheckState, type HealthCheck, HealthChecks } from './health-checks.js';
export { createLogger, type LogOptions, redactQueries } from './logging.js';
export { type MetricDescription, Metrics } from './metrics.js';
export { type ApiDescription, openApiDocument } from './openapi.js';
export {
  type AnyErrorCode,
  HttpProblem,
  type HttpProblemOptions,
  PROBLEM_MEDIA_TYPE,
  type ProblemDocument,
  problemOf,
  type ProblemOptions,
  PROBLEMS,
  type ProblemSpec,
} from './problem.js';
export { ProblemResponses } from './problem-responses.js';
export { type Outcome, outcomeOf } from './problem-filter.js';
export { Optional } from './optional.js';
export { ServiceConfig } from './service-config.js';
export { whenAnswered } from './when-answered.js';
export { multipartContent, type MultipartPart, multipartParts } from './multipart-parts.js';
export { BINARY_MEDIA_TYPE, BodyStream, bodyStreamOf, readAtMost } from './raw-body.js';
export { REQUEST_ID_HEADER, requestIdOf } from './request-id.js';
export { listRoutes, type RouteRule, undeclaredRoutes } from './routes.js';
export { type FieldError, invalidRequest, StrictValidationPipe, validationPipe } from './validation.js';
export { type LogPlaces, openLog, type OpenLog } from './log-destination.js';
export { type ProgramHost, runService, type ServiceCommand, type ServiceProgram, thisProcess } from './run-service.js';
export { outgoingTraceHeaders } from './trace-context.js';
export { cameOverUnixSocket, type UnixSocket } from './unix-socket.js';
