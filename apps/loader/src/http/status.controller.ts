import { Public } from '@azaion/nest-support';
import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';

import type { Plain } from './plain.js';
import { LoaderStatus } from '../status/loader-status.js';

/** Answer of `GET /health`, exactly. */
export class HealthAnswer {
  @ApiProperty({ example: 'healthy' })
  readonly status!: 'healthy';
}

/** Bytes of packs on this device. */
export class CacheUsage {
  @ApiProperty({ example: 1_048_576 })
  readonly bytes!: number;

  @ApiProperty({ example: 53_687_091_200 })
  readonly limitBytes!: number;
}

/** Answer of `GET /status`. */
export class StatusAnswer {
  @ApiProperty({ example: 'healthy' })
  readonly status!: string;

  @ApiProperty({ description: 'Whether the device or anybody is logged in' })
  readonly authenticated!: boolean;

  @ApiProperty({ example: '/var/lib/azaion/packs' })
  readonly modelCacheDir!: string;

  @ApiProperty({ example: '0.1.0' })
  readonly version!: string;

  @ApiProperty({ example: 'credentials', description: "What the device's keys are tied to; `none` without a device" })
  readonly binding!: string;

  @ApiProperty({ example: 'LOADER_BINDING=auto: a TPM answers, so the device keys stand in the TPM.' })
  readonly bindingReason!: string;

  @ApiProperty({ description: 'Whether the Admin API is out of reach' })
  readonly offline!: boolean;

  @ApiProperty()
  readonly cache!: CacheUsage;
}

/** F6. */
@ApiTags('health')
@Controller()
@Public()
export class StatusController {
  constructor(private readonly status: LoaderStatus) {}

  @Get('health')
  @ApiOperation({ summary: 'Whether the process answers' })
  @ApiOkResponse({ type: HealthAnswer })
  health(): Plain<HealthAnswer> {
    return { status: 'healthy' };
  }

  @Get('status')
  @ApiOperation({ summary: 'What this Loader is and has' })
  @ApiOkResponse({ type: StatusAnswer })
  current(): Promise<Plain<StatusAnswer>> {
    return this.status.current();
  }
}
