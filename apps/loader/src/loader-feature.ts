import type { HealthCheck } from '@azaion/nest-support';
import type { DynamicModule } from '@nestjs/common';

/** A part of the Loader that can be left out. */
export interface LoaderFeature {
  /** It may inject what the Loader's core exports. */
  readonly module: DynamicModule;
  /** What it needs to serve. */
  readonly ready: readonly HealthCheck[];
}
