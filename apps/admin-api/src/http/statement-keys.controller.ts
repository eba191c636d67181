import { HttpProblem, Public } from '@azaion/nest-support';
import { Controller, Get, Header } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';

import { StatementAuthority } from '../keys/statement-authority.js';
import { ProblemResponses } from './problems.js';

/** What readers verify statements and grants with. */
@ApiTags('fetch')
@Public()
@Controller('.well-known')
export class StatementKeysController {
  constructor(private readonly authority: StatementAuthority) {}

  @Get('azaion-statement-keys')
  @Header('Content-Type', 'application/jose')
  @Header('Cache-Control', 'public, max-age=300')
  @ApiOperation({ summary: 'The key document: a compact JWS signed by the offline root' })
  @ApiProduces('application/jose')
  @ApiOkResponse({ description: 'Compact JWS' })
  keyDocument(): Promise<string> {
    return this.authority.keyDocument();
  }

  @Get('azaion-statement-root')
  @Header('Cache-Control', 'no-store')
  @ApiOperation({ summary: 'The root’s public key, where a development API made it by itself' })
  @ApiOkResponse({ description: 'A public JWK with `kid`' })
  @ProblemResponses(404)
  async root(): Promise<object> {
    const root = await this.authority.developmentRoot();
    if (!root) throw new HttpProblem('route.not-found', 'There is nothing at this address.');
    return { ...root.key, kid: root.kid };
  }
}
