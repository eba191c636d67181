import { Optional } from '@azaion/nest-support';
import { NAME_PATTERN } from '@azaion/kernel';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsIn, IsInt, Matches, Max, Min } from 'class-validator';

const NAME_RULE = { message: 'must be 1 to 200 letters, digits, ".", "_" or "-", starting with a letter or digit' };
/** The folder of a call that names none, as older clients expect it. */
export const DEFAULT_FOLDER = 'models';

/** The last part of the path. */
export class FilenameParam {
  @ApiProperty({ example: 'ocr-recognition.onnx' })
  @Matches(NAME_PATTERN, NAME_RULE)
  readonly filename!: string;
}

/** A folder alone. */
export class FolderParam {
  @ApiProperty({ example: 'models' })
  @Matches(NAME_PATTERN, NAME_RULE)
  readonly folder!: string;
}

/** A folder and a name in it. */
export class ResourceParam extends FolderParam {
  @ApiProperty({ example: 'ocr-recognition.onnx' })
  @Matches(NAME_PATTERN, NAME_RULE)
  readonly filename!: string;
}

/** Body of `POST /load/{filename}`. */
export class LoadDto {
  @ApiProperty({ example: 'ocr-recognition.onnx', description: 'The same name as in the path' })
  @Matches(NAME_PATTERN, NAME_RULE)
  readonly filename!: string;

  @ApiProperty({ example: 'models' })
  @Matches(NAME_PATTERN, NAME_RULE)
  readonly folder!: string;
}

/** Query of `GET /resources/{folder}/{filename}`. */
export class VersionQuery {
  @ApiPropertyOptional({ example: 3, description: 'An older version, by its number; the newest when left out' })
  @Optional()
  @Transform(({ value }: { value: unknown }) =>
    typeof value === 'string' && /^\d{1,10}$/.test(value) ? Number(value) : value,
  )
  @IsInt()
  @Min(1)
  @Max(0xffff_ffff)
  readonly version?: number;
}

/** Query of `POST /upload/{filename}`. */
export class UploadQuery {
  @ApiPropertyOptional({ description: 'For octet-stream bodies; multipart bodies have a field' })
  @Optional()
  @Matches(NAME_PATTERN, NAME_RULE)
  readonly folder?: string;

  @ApiPropertyOptional({ enum: ['file', 'images'], default: 'file' })
  @Optional()
  @IsIn(['file', 'images'])
  readonly kind?: 'file' | 'images';
}
