import type { Secret } from '@azaion/kernel';
import { IsIn, Matches, MinLength } from 'class-validator';

import { EnvSecret, EnvText } from './config.js';
import { Optional } from './optional.js';

/** What can be set of every service. */
export abstract class ServiceConfig {
  /** Opens `/metrics` to a scraper: at least 16 printable characters without spaces; without one only administrators read them. */
  @EnvSecret('METRICS_TOKEN')
  @Optional()
  @MinLength(16)
  @Matches(/^[\x21-\x7e]*$/, {
    message: 'must hold printable ASCII characters without spaces, as a header carries them',
  })
  readonly metricsToken?: Secret<string>;

  /** Least level that is logged. */
  @EnvText('LOG_LEVEL')
  @IsIn(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent' = 'info';
}
