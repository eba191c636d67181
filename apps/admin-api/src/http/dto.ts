import { Optional } from '@azaion/nest-support';
import { fromBase64Url } from '@azaion/kernel';
import { Type } from 'class-transformer';
import {
  IsIn,
  IsInt,
  IsString,
  IsUUID,
  Matches,
  Max,
  MaxLength,
  Min,
  ValidateBy,
  type ValidationOptions,
} from 'class-validator';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';

/** What a handler returns for a documented answer: a plain object with its members. */
export type AnswerOf<T> = { readonly [Member in keyof T]: T[Member] };

/** A serial number as statements may name it. */
export const SERIAL_PATTERN = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** A text that is canonical base64url of `leastBytes` to `mostBytes` bytes. */
export function IsBase64UrlBytes(
  leastBytes: number,
  mostBytes = leastBytes,
  options?: ValidationOptions,
): PropertyDecorator {
  const size = leastBytes === mostBytes ? `${leastBytes}` : `${leastBytes} to ${mostBytes}`;
  return ValidateBy(
    {
      name: 'isBase64UrlBytes',
      validator: {
        validate: (value: unknown) =>
          typeof value === 'string' && (fromBase64Url(value, mostBytes)?.length ?? -1) >= leastBytes,
        defaultMessage: () => `$property must be base64url of ${size} bytes, without padding`,
      },
    },
    options,
  );
}

/** The bytes of a member that {@link IsBase64UrlBytes} has accepted. */
export function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64url'));
}

/** A path that names an upload or grant. */
export class IdParams {
  @ApiProperty({ format: 'uuid', example: '0b6f2c5e-3f3f-4c53-9a5e-2f8f7a3d1c11' })
  @IsUUID()
  readonly id!: string;
}

/** A path that names a pack of an upload. */
export class PackParams extends IdParams {
  @ApiProperty({ example: '5f2b8a0c9d3e4f60718293a4b5c6d7e8' })
  @Matches(/^[0-9a-f]{32}$/)
  readonly packId!: string;
}

/** A path that names a part of a recipe. */
export class SegmentParams extends IdParams {
  @ApiProperty({ enum: ['root', 'chunks', 'packs'] })
  @IsIn(['root', 'chunks', 'packs'])
  readonly kind!: 'root' | 'chunks' | 'packs';

  @ApiProperty({ minimum: 0, example: 0 })
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(0xffff)
  readonly index!: number;
}

/** A path that names a device. */
export class SerialParams {
  @ApiProperty({ example: 'azj-0000' })
  @Matches(SERIAL_PATTERN)
  readonly serial!: string;
}

/** Which part of a list. */
export class PageQuery {
  @ApiPropertyOptional({ minimum: 1, maximum: 200, default: 50 })
  @Optional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(200)
  readonly limit: number = 50;

  @ApiPropertyOptional({ description: 'The `cursor` of the page before' })
  @Optional()
  @IsString()
  @MaxLength(320)
  readonly cursor?: string;
}
