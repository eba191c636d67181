import { Controller, type DynamicModule, Get, Module, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';

import { AllowScrape } from './access.js';
import { Metrics } from './metrics.js';

/** The metrics, for a scraper that has the token of this service, and for administrators. */
@ApiTags('health')
@Controller('metrics')
export class MetricsController {
  constructor(private readonly metrics: Metrics) {}

  @Get()
  @AllowScrape('Admin', 'ApiAdmin')
  @ApiOperation({ summary: 'Metrics in the Prometheus text format, for the scrape token or an administrator' })
  @ApiProduces('text/plain')
  @ApiOkResponse({ schema: { type: 'string' } })
  async read(@Res() reply: FastifyReply): Promise<void> {
    const text = await this.metrics.text();
    await reply.headers({ 'content-type': this.metrics.contentType, 'cache-control': 'no-store' }).send(text);
  }
}

/** `GET /metrics`, and the {@link Metrics} for whoever counts something. */
@Module({})
export class MetricsModule {
  static register(metrics: Metrics): DynamicModule {
    return {
      module: MetricsModule,
      global: true,
      controllers: [MetricsController],
      providers: [{ provide: Metrics, useValue: metrics }],
      exports: [Metrics],
    };
  }
}
