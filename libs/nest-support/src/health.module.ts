import { SystemClock } from '@azaion/kernel';
import {
  Controller,
  type DynamicModule,
  Get,
  Inject,
  Injectable,
  type InjectionToken,
  Module,
  type ModuleMetadata,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
  Res,
  ServiceUnavailableException,
} from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { HealthCheckService, HealthIndicatorService, TerminusModule } from '@nestjs/terminus';
import type { FastifyReply } from 'fastify';

import { Public } from './access.js';
import { type HealthCheck, HealthChecks } from './health-checks.js';

/** What a service must have to start, and to serve. */
export interface HealthPlan {
  readonly ready: readonly HealthCheck[];
  /** Must have succeeded once; nothing unless given. */
  readonly startup?: readonly HealthCheck[];
  /** Time between two rounds; 5 s unless given. */
  readonly intervalMs?: number;
}

/** How the plan is made from other providers. */
export interface HealthModuleOptions {
  readonly imports?: NonNullable<ModuleMetadata['imports']>;
  readonly inject?: readonly InjectionToken[];
  // Nest passes the injected providers; their types are the factory's own.
  readonly useFactory: (...dependencies: never[]) => HealthPlan | Promise<HealthPlan>;
}

const PLAN = 'azaion:health-plan';
const DEFAULT_INTERVAL_MS = 5_000;

/** Runs the checks in the background from start to shutdown. */
@Injectable()
export class HealthProbes implements OnApplicationBootstrap, OnModuleDestroy {
  readonly ready: HealthChecks;
  readonly startup: HealthChecks;
  private started = false;

  constructor(@Inject(PLAN) plan: HealthPlan) {
    const clock = new SystemClock();
    const intervalMs = plan.intervalMs ?? DEFAULT_INTERVAL_MS;
    this.ready = new HealthChecks(plan.ready, clock, intervalMs);
    this.startup = new HealthChecks(plan.startup ?? [], clock, intervalMs);
  }

  onApplicationBootstrap(): void {
    this.ready.start();
    this.startup.start();
  }

  onModuleDestroy(): void {
    this.ready.stop();
    this.startup.stop();
  }

  /** Whether the start has been completed; once it has, it stays so. */
  hasStarted(): boolean {
    if (!this.started && this.startup.allUp()) {
      this.started = true;
      this.startup.stop();
    }
    return this.started;
  }
}

/** `/health/live`, `/health/ready` and `/health/startup` in the shape of terminus. No probe waits for a dependency. */
@ApiTags('health')
@Controller('health')
@Public()
export class HealthController {
  constructor(
    private readonly probes: HealthProbes,
    private readonly health: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
  ) {}

  /** The event loop turns. */
  @Get('live')
  @ApiOperation({ summary: 'Whether the process turns: never looks at anything else' })
  live(@Res({ passthrough: true }) reply: FastifyReply): Promise<unknown> {
    return this.answer([], reply);
  }

  /** The service can do its work. */
  @Get('ready')
  @ApiOperation({ summary: 'Whether requests can be served now; names what is down' })
  ready(@Res({ passthrough: true }) reply: FastifyReply): Promise<unknown> {
    return this.answer(this.probes.ready.states(), reply);
  }

  /** The service has started. */
  @Get('startup')
  @ApiOperation({ summary: 'Whether everything has been opened' })
  startup(@Res({ passthrough: true }) reply: FastifyReply): Promise<unknown> {
    return this.answer(this.probes.hasStarted() ? [] : this.probes.startup.states(), reply);
  }

  private async answer(states: ReturnType<HealthChecks['states']>, reply: FastifyReply): Promise<unknown> {
    void reply.header('cache-control', 'no-store');
    try {
      return await this.health.check(
        states.map(({ name, up, reason }) => () => {
          const indicator = this.indicators.check(name);
          return up ? indicator.up() : indicator.down(reason ?? 'down');
        }),
      );
    } catch (error) {
      if (!(error instanceof ServiceUnavailableException)) throw error;
      void reply.status(503); // a probe's answer keeps the shape of terminus
      return error.getResponse();
    }
  }
}

/** Health probes of an application. */
@Module({})
export class HealthModule {
  static register(options: HealthModuleOptions): DynamicModule {
    return {
      module: HealthModule,
      imports: [TerminusModule.forRoot({ logger: false }), ...(options.imports ?? [])],
      controllers: [HealthController],
      providers: [
        HealthProbes,
        {
          provide: PLAN,
          inject: [...(options.inject ?? [])],
          useFactory: options.useFactory as (...dependencies: unknown[]) => HealthPlan | Promise<HealthPlan>,
        },
      ],
      exports: [HealthProbes],
    };
  }
}
