import { ROLES, type Role } from '@azaion/identity';
import { ApiProperty } from '@nestjs/swagger';

import type { Plain } from '../http/plain.js';

/** Somebody whose token is good. */
export class OverviewPerson {
  @ApiProperty({ example: 'operator@azaion.example' })
  readonly email!: string;

  @ApiProperty({ enum: Object.keys(ROLES), example: 'Operator' })
  readonly role!: Role;

  @ApiProperty({ format: 'date-time' })
  readonly lastSeen!: string;

  @ApiProperty({ format: 'date-time' })
  readonly expiresAt!: string;
}

/** A resource that was served since the start. */
export class OverviewResource {
  @ApiProperty({ example: 'models' })
  readonly folder!: string;

  @ApiProperty({ example: 'ocr-recognition.onnx' })
  readonly name!: string;

  @ApiProperty({ example: 3 })
  readonly version!: number;

  @ApiProperty({ format: 'date-time' })
  readonly lastServed!: string;

  @ApiProperty({ example: 12 })
  readonly times!: number;
}

/** A version that the device has a lease for, and how much of it lies here. */
export class OverviewHeld {
  @ApiProperty({ example: 'models' })
  readonly folder!: string;

  @ApiProperty({ example: 'ocr-recognition.onnx' })
  readonly name!: string;

  @ApiProperty({ example: 3 })
  readonly version!: number;

  @ApiProperty({ enum: ['file', 'images'], example: 'file' })
  readonly kind!: 'file' | 'images';

  @ApiProperty({ example: 104_857_600 })
  readonly totalBytes!: number;

  @ApiProperty({ example: 104_857_600, description: 'What of it opens without any network' })
  readonly presentBytes!: number;

  @ApiProperty({ description: 'Whether all of it does' })
  readonly complete!: boolean;

  @ApiProperty({ format: 'date-time', description: 'Until when it opens without the Admin API' })
  readonly leasedUntil!: string;
}

/** What lies here and opens with the Admin API only. */
export class OverviewUnleased {
  @ApiProperty({ example: 3 })
  readonly packs!: number;

  @ApiProperty({ example: 100_663_296, description: 'Sealed' })
  readonly bytes!: number;
}

/** A request that failed. */
export class OverviewFailure {
  @ApiProperty({ format: 'date-time' })
  readonly at!: string;

  @ApiProperty({ example: 'POST /load/ocr-recognition.onnx' })
  readonly request!: string;

  @ApiProperty({ example: 502 })
  readonly status!: number;

  @ApiProperty({ example: 'cdn.unavailable' })
  readonly code!: string;

  @ApiProperty()
  readonly detail!: string;

  @ApiProperty()
  readonly requestId!: string;
}

/** Answer of `GET /overview`. */
export class OverviewAnswer {
  @ApiProperty({ type: String, nullable: true, example: 'azj-0001', description: 'Of the device, where this is one' })
  readonly serial!: string | null;

  @ApiProperty({ description: 'Whether the device itself is logged in' })
  readonly deviceLoggedIn!: boolean;

  @ApiProperty({
    type: [OverviewPerson],
    description: 'Who is logged in here, seen last first; to a device itself only',
  })
  readonly people!: readonly Plain<OverviewPerson>[];

  @ApiProperty({
    type: [OverviewHeld],
    description: 'What lies on this device, by name, as it was found within the last seconds; 500 versions at most',
  })
  readonly held!: readonly Plain<OverviewHeld>[];

  @ApiProperty({
    type: OverviewUnleased,
    description: 'Packs that no lease on this device needs: they open with the Admin API only, and make room first',
  })
  readonly unleased!: Plain<OverviewUnleased>;

  @ApiProperty({
    type: [OverviewResource],
    description: 'What was served since the start, the last first, as far as the caller may see its folder',
  })
  readonly resources!: readonly Plain<OverviewResource>[];

  @ApiProperty({
    type: [OverviewFailure],
    description: 'The last requests that failed, the last first; to a device its own only',
  })
  readonly failures!: readonly Plain<OverviewFailure>[];
}
