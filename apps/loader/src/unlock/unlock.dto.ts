import { UNLOCK_STATES, type UnlockState } from '@azaion/unlock';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsString, MaxLength, MinLength, ValidateIf } from 'class-validator';

/** Body of `POST /unlock` and `POST /unlock/cancel`: both members, or none with a token. */
export class UnlockDto {
  @ApiPropertyOptional({ description: 'Not needed with a token' })
  @ValidateIf(({ email, password }: UnlockDto) => email !== undefined || password !== undefined)
  @IsString()
  @MinLength(1)
  @MaxLength(254)
  readonly email?: string;

  @ApiPropertyOptional({ format: 'password' })
  @ValidateIf(({ email, password }: UnlockDto) => email !== undefined || password !== undefined)
  @IsString()
  @MinLength(1)
  @MaxLength(1024)
  readonly password?: string;
}

/** Bodies that documents show. The first one is what Swagger UI fills in: credentials that are only an example would win over a good token. */
export const UNLOCK_EXAMPLES = {
  'with a token': { value: {} },
  'with credentials': { value: { email: 'operator@azaion.example', password: 'the password of this account' } },
} as const;

/** Answer of `POST /unlock`. */
export class UnlockAnswer {
  @ApiProperty({ enum: UNLOCK_STATES, example: 'authenticating' })
  readonly state!: UnlockState;
}

/** How far a run is. */
export class UnlockProgressAnswer {
  @ApiProperty({ example: 'loading_images' })
  readonly phase!: string;

  @ApiProperty({ example: 104_857_600 })
  readonly bytesDone!: number;

  @ApiProperty({ type: Number, nullable: true, example: 629_145_600 })
  readonly bytesTotal!: number | null;

  @ApiProperty({ example: 52_428_800 })
  readonly bytesPerSecond!: number;

  @ApiProperty({ type: Number, nullable: true, example: 10 })
  readonly etaSeconds!: number | null;

  @ApiProperty({ example: 0, description: 'Seconds for which nothing has moved although bytes are due' })
  readonly stalledSeconds!: number;
}

/** What a run that ended well has moved. */
export class UnlockReportAnswer {
  @ApiProperty({ example: 629_145_600, description: 'Size of the opened archive' })
  readonly archiveBytes!: number;

  @ApiProperty({ example: 52_428_800, description: 'Bytes that the engine was given' })
  readonly loadedBytes!: number;

  @ApiProperty({ example: 576_716_800, description: 'Bytes of layers that the engine had already' })
  readonly reusedBytes!: number;

  @ApiProperty({ example: 31_457_280, description: 'Encrypted bytes that came over the network' })
  readonly downloadedBytes!: number;

  @ApiProperty({ example: 0, description: 'Encrypted bytes that were on the device already' })
  readonly cachedBytes!: number;

  @ApiProperty({ example: 8200 })
  readonly durationMs!: number;
}

/** One image of the newest archive. */
export class UnlockImageAnswer {
  @ApiProperty({ example: 'azaion/detections:1.4.0' })
  readonly reference!: string;

  @ApiProperty({ type: String, nullable: true, example: `sha256:${'0'.repeat(64)}` })
  readonly configDigest!: string | null;

  @ApiProperty({ description: 'Whether the engine had it when it was last asked' })
  readonly present!: boolean;
}

/** A version of a sealed archive. */
export class ArchiveVersionAnswer {
  @ApiProperty({ example: 'images' })
  readonly folder!: string;

  @ApiProperty({ example: 'azaion-latest' })
  readonly name!: string;

  @ApiProperty({ example: 3 })
  readonly version!: number;
}

/** Services that could not be started. */
export class UnlockRetryAnswer {
  @ApiProperty({ example: 3, description: 'How often in a row' })
  readonly attempts!: number;

  @ApiProperty({
    format: 'date-time',
    description: 'Before this the device does not try again by itself; a person may',
  })
  readonly notBefore!: string;
}

/** Answer of `GET /unlock/status`, and the data of every event. */
export class UnlockStatusAnswer {
  @ApiProperty({ enum: UNLOCK_STATES, example: 'ready' })
  readonly state!: UnlockState;

  @ApiProperty({ type: String, nullable: true, example: null, description: 'Stable code of what ended the last run' })
  readonly error!: string | null;

  @ApiProperty({ type: String, nullable: true, example: null, description: 'The same in a plain sentence' })
  readonly detail!: string | null;

  @ApiProperty({ type: UnlockProgressAnswer, nullable: true })
  readonly progress!: UnlockProgressAnswer | null;

  @ApiProperty({ type: [UnlockImageAnswer] })
  readonly images!: readonly UnlockImageAnswer[];

  @ApiProperty({
    type: ArchiveVersionAnswer,
    nullable: true,
    description: 'The version whose images the engine holds; none before the first, and for a file of the older format',
  })
  readonly loaded!: ArchiveVersionAnswer | null;

  @ApiProperty({ type: UnlockRetryAnswer, nullable: true, description: 'After services could not be started' })
  readonly retry!: UnlockRetryAnswer | null;

  @ApiProperty({ type: UnlockReportAnswer, nullable: true, description: 'Of the last run that loaded something' })
  readonly report!: UnlockReportAnswer | null;
}
