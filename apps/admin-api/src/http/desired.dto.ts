import { NAME_PATTERN, resourcePath } from '@azaion/kernel';
import { invalidRequest, Optional } from '@azaion/nest-support';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  IsArray,
  IsIn,
  IsInt,
  IsObject,
  Matches,
  Max,
  Min,
  ValidateBy,
  ValidateIf,
  ValidateNested,
} from 'class-validator';

import { type DesiredState, MAX_DESIRED_RESOURCES, type WantedVersion } from '../desired/desired-state.js';
import { type AnswerOf, SERIAL_PATTERN } from './dto.js';

const MAX_VERSION = 0x7fff_ffff;
const MAX_PRIORITY = 1_000_000;
/** Words and numbers, as releases, bindings and states are called. */
const WORD = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/;

/** A number, or `latest`. */
function IsWantedVersion(): PropertyDecorator {
  return ValidateBy({
    name: 'isWantedVersion',
    validator: {
      validate: (value: unknown) =>
        value === 'latest' ||
        (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_VERSION),
      defaultMessage: () => `$property must be "latest" or a number from 1 to ${MAX_VERSION}`,
    },
  });
}

const WANTED_VERSION = {
  oneOf: [
    { type: 'integer', minimum: 1, maximum: MAX_VERSION },
    { type: 'string', enum: ['latest'] },
  ],
};

/** A path that names a group. */
export class GroupParams {
  @ApiProperty({ example: 'canary', pattern: SERIAL_PATTERN.source })
  @Matches(SERIAL_PATTERN)
  readonly name!: string;
}

/** A path that names a group and a device. */
export class MemberParams extends GroupParams {
  @ApiProperty({ example: 'azj-0000', pattern: SERIAL_PATTERN.source })
  @Matches(SERIAL_PATTERN)
  readonly serial!: string;
}

/** Which resource. */
class ResourceNameBody {
  @ApiProperty({ example: 'models', pattern: NAME_PATTERN.source })
  @Matches(NAME_PATTERN)
  readonly folder!: string;

  @ApiProperty({ example: 'ocr-recognition.onnx', pattern: NAME_PATTERN.source })
  @Matches(NAME_PATTERN)
  readonly name!: string;
}

/** A resource in the version that is wanted. */
export class DesiredResourceBody extends ResourceNameBody {
  @ApiProperty({ ...WANTED_VERSION, example: 'latest' })
  @IsWantedVersion()
  readonly version!: WantedVersion;
}

/** What to hold and run. */
export class DesiredBody {
  @ApiProperty({ type: [DesiredResourceBody], maxItems: MAX_DESIRED_RESOURCES })
  @IsArray()
  @ArrayMaxSize(MAX_DESIRED_RESOURCES)
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Type(() => DesiredResourceBody)
  readonly resources!: readonly DesiredResourceBody[];

  @ApiPropertyOptional({
    oneOf: [{ $ref: '#/components/schemas/DesiredResourceBody' }, { type: 'null' }],
    description: 'The image archive to run; says nothing about images when left out or null',
    example: null,
  })
  @Optional()
  @ValidateIf((_, value) => value !== null)
  @IsObject()
  @ValidateNested()
  @Type(() => DesiredResourceBody)
  readonly images?: DesiredResourceBody | null;
}

/** What the devices of a group should hold and run. */
export class GroupDesiredBody extends DesiredBody {
  @ApiPropertyOptional({
    type: 'integer',
    minimum: -MAX_PRIORITY,
    maximum: MAX_PRIORITY,
    default: 0,
    description: 'Where two groups of a device name the same resource, the higher number counts',
  })
  @Optional()
  @IsInt()
  @Min(-MAX_PRIORITY)
  @Max(MAX_PRIORITY)
  readonly priority?: number;
}

/** A resource that is wanted. */
export class DesiredResourceAnswer {
  @ApiProperty({ example: 'models' })
  readonly folder!: string;
  @ApiProperty({ example: 'ocr-recognition.onnx' })
  readonly name!: string;
  @ApiProperty({ ...WANTED_VERSION, example: 'latest' })
  readonly version!: WantedVersion;
}

/** A resource that is wanted, as a device is told. */
export class ToldResourceAnswer extends DesiredResourceAnswer {
  @ApiPropertyOptional({ description: 'For `latest`: which version that is now; missing while there is none' })
  readonly newest?: number;
}

/** What a device is told. */
export class ToldAnswer {
  @ApiProperty({ type: [ToldResourceAnswer] })
  readonly resources!: readonly AnswerOf<ToldResourceAnswer>[];
  @ApiProperty({ oneOf: [{ $ref: '#/components/schemas/ToldResourceAnswer' }, { type: 'null' }] })
  readonly images!: AnswerOf<ToldResourceAnswer> | null;
}

/** A resource that is wanted, and by whom. */
export class EffectiveResourceAnswer extends DesiredResourceAnswer {
  @ApiProperty({ example: 'group:canary', description: '`device`, or `group:` and its name' })
  readonly from!: string;
}

/** What a device is told, and by whom. */
export class EffectiveAnswer {
  @ApiProperty({ type: [EffectiveResourceAnswer] })
  readonly resources!: readonly AnswerOf<EffectiveResourceAnswer>[];
  @ApiProperty({ oneOf: [{ $ref: '#/components/schemas/EffectiveResourceAnswer' }, { type: 'null' }] })
  readonly images!: AnswerOf<EffectiveResourceAnswer> | null;
}

/** Wishes for a device alone, as they were set. */
export class DesiredAnswer {
  @ApiProperty({ type: [DesiredResourceAnswer] })
  readonly resources!: readonly AnswerOf<DesiredResourceAnswer>[];
  @ApiProperty({ oneOf: [{ $ref: '#/components/schemas/DesiredResourceAnswer' }, { type: 'null' }] })
  readonly images!: AnswerOf<DesiredResourceAnswer> | null;
}

/** Wishes for a group, as they were set. */
export class GroupDesiredAnswer extends DesiredAnswer {
  @ApiProperty({ example: 0 })
  readonly priority!: number;
}

/** A version that a device holds. */
export class HeldVersionBody extends ResourceNameBody {
  @ApiProperty({ example: 1, minimum: 1, maximum: MAX_VERSION })
  @IsInt()
  @Min(1)
  @Max(MAX_VERSION)
  readonly version!: number;
}

/** The images that a device runs. */
export class RunningImagesBody extends HeldVersionBody {
  @ApiProperty({ example: 'ready', pattern: WORD.source, description: 'State of the unlock' })
  @Matches(WORD)
  readonly state!: string;
}

/** What a device holds and runs. */
export class ReportBody {
  @ApiProperty({ example: '0.1.0', pattern: WORD.source })
  @Matches(WORD)
  readonly loaderVersion!: string;

  @ApiProperty({ enum: ['credentials', 'hardware', 'tpm'] })
  @IsIn(['credentials', 'hardware', 'tpm'])
  readonly binding!: string;

  @ApiProperty({ type: [HeldVersionBody], maxItems: MAX_DESIRED_RESOURCES })
  @IsArray()
  @ArrayMaxSize(MAX_DESIRED_RESOURCES)
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Type(() => HeldVersionBody)
  readonly resources!: readonly HeldVersionBody[];

  @ApiPropertyOptional({
    oneOf: [{ $ref: '#/components/schemas/RunningImagesBody' }, { type: 'null' }],
    example: null,
  })
  @Optional()
  @ValidateIf((_, value) => value !== null)
  @IsObject()
  @ValidateNested()
  @Type(() => RunningImagesBody)
  readonly images?: RunningImagesBody | null;
}

/** The wishes that a body holds. @throws HttpProblem `request.invalid` when it names a resource twice. */
export function desiredOf({ resources, images }: DesiredBody): DesiredState {
  const seen = new Set<string>();
  for (const [index, wanted] of resources.entries()) {
    if (seen.has(resourcePath(wanted)))
      throw invalidRequest(400, [{ field: `resources.${index}`, messages: ['names a resource a second time'] }]);
    seen.add(resourcePath(wanted));
  }
  return { resources: resources.map(plain), images: images === undefined || images === null ? null : plain(images) };
}

function plain({ folder, name, version }: DesiredResourceBody): AnswerOf<DesiredResourceBody> {
  return { folder, name, version };
}
