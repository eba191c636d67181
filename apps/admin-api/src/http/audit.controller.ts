import { Readable } from 'node:stream';

import type { AuditHead } from '@azaion/crypto';
import type { Caller } from '@azaion/identity';
import { AllowRoles, CurrentCaller, invalidRequest, Optional, ProblemResponses } from '@azaion/nest-support';
import { Controller, Get, Ip, Query, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiProperty, ApiPropertyOptional, ApiTags } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsISO8601, IsString, Matches, Max, MaxLength, Min } from 'class-validator';
import type { FastifyReply } from 'fastify';

import { AuditChain, type ChainFault, type LinkedEvent } from '../audit/audit-chain.js';
import { AuditLog } from '../audit/audit-log.js';
import { type AuditEntry, ReadAudit } from '../audit/read-audit.js';
import { Database } from '../persistence/database.js';
import type { AnswerOf } from './dto.js';

const JSON_LINES = 'application/x-ndjson';
const MAX_TEXT_CHARS = 320;
const HASH = /^[0-9a-f]{64}$/;
/** Events that one call verifies: some seconds of work. */
const MOST_VERIFIED = 200_000;

class AuditPageQuery {
  @ApiPropertyOptional({ example: 'grant.issued' })
  @Optional()
  @IsString()
  @MaxLength(MAX_TEXT_CHARS)
  readonly event?: string;

  @ApiPropertyOptional({ description: 'Id of an account, `system` or `unknown`' })
  @Optional()
  @IsString()
  @MaxLength(MAX_TEXT_CHARS)
  readonly actor?: string;

  @ApiPropertyOptional({ example: 'models/ocr-recognition.onnx' })
  @Optional()
  @IsString()
  @MaxLength(512)
  readonly subject?: string;

  @ApiPropertyOptional({ example: '192.0.2.1' })
  @Optional()
  @IsString()
  @MaxLength(MAX_TEXT_CHARS)
  readonly address?: string;

  @ApiPropertyOptional({ format: 'date-time', description: 'From this time on' })
  @Optional()
  @IsISO8601({ strict: true })
  @MaxLength(40)
  readonly from?: string;

  @ApiPropertyOptional({ format: 'date-time', description: 'Before this time' })
  @Optional()
  @IsISO8601({ strict: true })
  @MaxLength(40)
  readonly to?: string;

  @ApiPropertyOptional({ minimum: 1, maximum: 200, default: 50 })
  @Optional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(200)
  readonly limit: number = 50;

  @ApiPropertyOptional({ description: 'The `cursor` of the page before' })
  @Optional()
  @Matches(/^\d{1,15}$/)
  readonly cursor?: string;
}

class VerifyQuery {
  @ApiPropertyOptional({ minimum: 1, description: 'Sequence of a head that was kept elsewhere' })
  @Optional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(Number.MAX_SAFE_INTEGER)
  readonly sequence?: number;

  @ApiPropertyOptional({ description: 'Hash of that head, hexadecimal' })
  @Optional()
  @Matches(HASH)
  readonly hash?: string;

  @ApiPropertyOptional({
    minimum: 0,
    description: 'Sequence of a head that is known to be good: look at what came after it',
  })
  @Optional()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  readonly after?: number;

  @ApiPropertyOptional({ description: 'Hash of that head, hexadecimal' })
  @Optional()
  @Matches(HASH)
  readonly afterHash?: string;

  @ApiPropertyOptional({ minimum: 1, maximum: MOST_VERIFIED, default: MOST_VERIFIED, description: 'Events to look at' })
  @Optional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(MOST_VERIFIED)
  readonly limit: number = MOST_VERIFIED;
}

class ExportQuery {
  @ApiPropertyOptional({ minimum: 0, default: 0, description: 'Sequence of the last event that is known already' })
  @Optional()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  readonly after: number = 0;
}

class EventAnswer {
  @ApiProperty({ example: 1042 })
  readonly id!: number;
  @ApiProperty({ format: 'date-time' })
  readonly at!: string;
  @ApiProperty({ example: 'grant.issued' })
  readonly event!: string;
  @ApiProperty({ description: 'Id of an account, `system` or `unknown`' })
  readonly actor!: string;
  @ApiProperty({ description: 'Network address; empty for the system itself' })
  readonly address!: string;
  @ApiProperty()
  readonly subject!: string;
  @ApiProperty({ type: Object })
  readonly details!: object;
  @ApiPropertyOptional({ description: 'Place in the chain; missing for about a second' })
  readonly sequence?: number;
  @ApiPropertyOptional({ description: 'Hash of the link, hexadecimal' })
  readonly hash?: string;
}

class EventsAnswer {
  @ApiProperty({ type: [EventAnswer] })
  readonly events!: readonly AnswerOf<EventAnswer>[];
  @ApiPropertyOptional({ description: 'Where the next page begins; missing on the last' })
  readonly cursor?: string;
}

class HeadAnswer {
  @ApiProperty({ example: 1042, description: '0 for an empty log' })
  readonly sequence!: number;
  @ApiProperty({ description: 'Hexadecimal' })
  readonly hash!: string;
}

class FaultAnswer {
  @ApiProperty({
    enum: ['hash-mismatch', 'event-missing', 'sequence-gap', 'event-unlinked', 'head-mismatch', 'head-trimmed'],
  })
  readonly kind!: ChainFault;
  @ApiProperty({ description: 'Where it was found' })
  readonly sequence!: number;
}

class VerdictAnswer {
  @ApiProperty()
  readonly intact!: boolean;
  @ApiProperty({
    description: 'Whether the end of the chain was reached; if not, go on with `after` and `afterHash` of `head`',
  })
  readonly complete!: boolean;
  @ApiProperty({ description: 'Events that this call found good' })
  readonly verified!: number;
  @ApiProperty({ type: HeadAnswer, description: 'The last good link' })
  readonly head!: AnswerOf<HeadAnswer>;
  @ApiPropertyOptional({ type: FaultAnswer })
  readonly fault?: AnswerOf<FaultAnswer>;
}

/** The record of what happened. Source: docs/reference/audit.md. */
@ApiTags('audit')
@AllowRoles('ApiAdmin')
@Controller('audit')
export class AuditController {
  constructor(
    private readonly events: ReadAudit,
    private readonly chain: AuditChain,
    private readonly log: AuditLog,
    private readonly database: Database,
  ) {}

  @Get()
  @ApiOperation({ summary: 'Events, newest first' })
  @ApiOkResponse({ type: EventsAnswer })
  @ProblemResponses(400, 401, 403)
  async page(@Query() query: AuditPageQuery): Promise<AnswerOf<EventsAnswer>> {
    const { events, cursor } = await this.events.page({
      event: query.event,
      actor: query.actor,
      subject: query.subject,
      address: query.address,
      from: query.from === undefined ? undefined : new Date(query.from),
      to: query.to === undefined ? undefined : new Date(query.to),
      limit: query.limit,
      before: query.cursor === undefined ? undefined : Number(query.cursor),
    });
    return { events: events.map(toAnswer), ...(cursor === undefined ? {} : { cursor: String(cursor) }) };
  }

  @Get('head')
  @ApiOperation({ summary: 'The end of the chain, to be kept elsewhere' })
  @ApiOkResponse({ type: HeadAnswer })
  @ProblemResponses(401, 403)
  head(): Promise<AnswerOf<HeadAnswer>> {
    return this.chain.head();
  }

  @Get('verify')
  @ApiOperation({ summary: 'Check the chain, and that it still holds a head that was kept elsewhere' })
  @ApiOkResponse({ type: VerdictAnswer })
  @ProblemResponses(400, 401, 403)
  verify(@Query() query: VerifyQuery): Promise<AnswerOf<VerdictAnswer>> {
    return this.chain.verify({
      known: headOf('sequence', query.sequence, 'hash', query.hash),
      after: query.after === 0 ? undefined : headOf('after', query.after, 'afterHash', query.afterHash),
      mostEvents: query.limit,
    });
  }

  @Get('export')
  @ApiOperation({ summary: 'The chain from its beginning, or from where one left off, as JSON lines' })
  @ApiProduces(JSON_LINES)
  @ApiOkResponse({ description: 'One event a line, in the order of the chain' })
  @ProblemResponses(400, 401, 403)
  async export(
    @Query() { after }: ExportQuery,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    await this.log.record(this.database.queries, {
      event: 'audit.exported',
      actor: { id: caller.userId, address },
      subject: 'audit',
      details: { after },
    });
    await reply
      .type(JSON_LINES)
      .header('cache-control', 'no-store')
      .send(Readable.from(jsonLines(this.chain.export(after))));
  }
}

/** A head that two members of a query name, or none. */
function headOf(
  sequenceField: string,
  sequence: number | undefined,
  hashField: string,
  hash: string | undefined,
): AuditHead | undefined {
  if (sequence !== undefined && hash !== undefined) return { sequence, hash };
  if (sequence === undefined && hash === undefined) return undefined;
  const field = sequence === undefined ? sequenceField : hashField;
  throw invalidRequest(400, [{ field, messages: ['goes with the other: both name a head'] }]);
}

async function* jsonLines(events: AsyncIterable<LinkedEvent>): AsyncGenerator<string> {
  for await (const event of events) yield `${JSON.stringify(toAnswer(event))}\n`;
}

function toAnswer(event: AuditEntry): AnswerOf<EventAnswer> {
  return {
    ...(event.sequence === undefined ? {} : { sequence: event.sequence }),
    id: event.id,
    at: event.at.toISOString(),
    event: event.event,
    actor: event.actor,
    address: event.address,
    subject: event.subject,
    details: event.details,
    ...(event.hash === undefined ? {} : { hash: event.hash }),
  };
}
