export { ComposeServiceStack } from './compose-service-stack.js';
