import { MAX_SIGNED_DOCUMENT_CHARS } from '@azaion/crypto';
import type { Caller } from '@azaion/identity';
import { AllowRoles, CurrentCaller, HttpProblem, Public, ProblemResponses } from '@azaion/nest-support';
import { Body, Controller, Get, Header, Ip, Post, Put } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation, ApiProduces, ApiProperty, ApiTags } from '@nestjs/swagger';
import { Matches, MaxLength } from 'class-validator';

import { StatementAuthority } from '../keys/statement-authority.js';
import { TrustedStatements } from '../keys/trusted-statements.js';
import type { AnswerOf } from './dto.js';

/** What readers verify statements and grants with. */
@ApiTags('fetch')
@Public()
@Controller('.well-known')
export class StatementKeysController {
  constructor(private readonly authority: StatementAuthority) {}

  @Get('azaion-statement-keys')
  @Header('Content-Type', 'application/jose')
  @Header('Cache-Control', 'no-cache') // who asks has met a key that it does not know
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

class PublicJwkAnswer {
  @ApiProperty({ enum: ['EC'] })
  readonly kty!: string;
  @ApiProperty({ enum: ['P-256'] })
  readonly crv!: string;
  @ApiProperty()
  readonly x!: string;
  @ApiProperty()
  readonly y!: string;
}

class NewStatementKeyAnswer {
  @ApiProperty()
  readonly kid!: string;
  @ApiProperty({ enum: ['ES256'] })
  readonly alg!: string;
  @ApiProperty({ type: PublicJwkAnswer })
  readonly key!: AnswerOf<PublicJwkAnswer>;
}

class StatementKeyAnswer extends NewStatementKeyAnswer {
  @ApiProperty({ format: 'date-time' })
  readonly createdAt!: string;
  @ApiProperty({ description: 'Whether the key document in force names it' })
  readonly inDocument!: boolean;
  @ApiProperty({ description: 'Whether it signs now: the newest that the document names' })
  readonly signs!: boolean;
}

class StatementKeysAnswer {
  @ApiProperty({ example: 3, description: 'Version of the key document in force' })
  readonly documentVersion!: number;
  @ApiProperty({ format: 'date-time' })
  readonly documentExpiresAt!: string;
  @ApiProperty({ type: [StatementKeyAnswer] })
  readonly keys!: readonly AnswerOf<StatementKeyAnswer>[];
}

class KeyDocumentBody {
  @ApiProperty({ description: 'Compact JWS by the offline root' })
  @MaxLength(MAX_SIGNED_DOCUMENT_CHARS)
  @Matches(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/)
  readonly document!: string;
}

class AcceptedDocumentAnswer {
  @ApiProperty({ example: 3 })
  readonly version!: number;
  @ApiProperty({ format: 'date-time' })
  readonly expiresAt!: string;
  @ApiProperty({ example: 12, description: 'Statements by keys that the document leaves out, signed anew' })
  readonly signedAnew!: number;
}

/** Rotation of the keys that sign statements. Source: docs/how-to/rotate-keys.md. */
@ApiTags('keys')
@AllowRoles('ApiAdmin')
@Controller('statement-keys')
export class OwnStatementKeysController {
  constructor(
    private readonly authority: StatementAuthority,
    private readonly statements: TrustedStatements,
  ) {}

  @Get()
  @ApiOperation({ summary: 'This API’s statement keys and the key document in force' })
  @ApiOkResponse({ type: StatementKeysAnswer })
  @ProblemResponses(401, 403)
  async list(): Promise<AnswerOf<StatementKeysAnswer>> {
    const { inForce, keys } = await this.authority.view();
    return {
      documentVersion: inForce.version,
      documentExpiresAt: new Date(inForce.expiresAt * 1000).toISOString(),
      keys: keys.map(({ kid, key, createdAt, inDocument, signs }) => ({
        kid,
        alg: 'ES256',
        key,
        createdAt: createdAt.toISOString(),
        inDocument,
        signs,
      })),
    };
  }

  @Post()
  @ApiOperation({ summary: 'Make another statement key; it signs once a key document names it' })
  @ApiCreatedResponse({ type: NewStatementKeyAnswer })
  @ProblemResponses(401, 403)
  async make(@CurrentCaller() caller: Caller, @Ip() address: string): Promise<AnswerOf<NewStatementKeyAnswer>> {
    const { kid, key } = await this.authority.makeKey({ id: caller.userId, address });
    return { kid, alg: 'ES256', key };
  }

  @Put('document')
  @ApiOperation({ summary: 'Hand in a key document that the offline root signed' })
  @ApiOkResponse({ type: AcceptedDocumentAnswer })
  @ProblemResponses(400, 401, 403, 409, 422)
  async accept(
    @Body() { document }: KeyDocumentBody,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
  ): Promise<AnswerOf<AcceptedDocumentAnswer>> {
    const { version, expiresAt } = await this.authority.accept(document, { id: caller.userId, address });
    const signedAnew = await this.statements.signAll();
    return { version, expiresAt: new Date(expiresAt * 1000).toISOString(), signedAnew };
  }
}
