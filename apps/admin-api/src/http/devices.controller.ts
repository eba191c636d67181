import { isPublicJwk } from '@azaion/crypto';
import type { Caller } from '@azaion/identity';
import { Secret, toBase64Url } from '@azaion/kernel';
import { AllowRoles, CurrentCaller, invalidRequest, Optional, ProblemResponses, Public } from '@azaion/nest-support';
import { Body, Controller, Get, Headers, HttpCode, Ip, Param, Post, Query, Res } from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiBody,
  ApiCreatedResponse,
  ApiExtraModels,
  ApiHeader,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiProperty,
  ApiPropertyOptional,
  ApiTags,
} from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsBoolean, IsIn, IsObject, IsString, Matches, MaxLength, NotEquals, ValidateNested } from 'class-validator';

import { ACTIVATION_BYTES, EnrolDevice } from '../devices/enrol-device.js';
import { type DeviceView, ManageDevices } from '../devices/manage-devices.js';
import { RegisterDevice } from '../devices/register-device.js';
import { MAX_PASSWORD_CHARS } from '../tokens/password-hasher.js';
import { type AnswerOf, bytesOf, IsBase64UrlBytes, PageQuery, SERIAL_PATTERN, SerialParams } from './dto.js';
import { EmptyBody } from './empty-body.js';
import { EvidenceBody, evidenceOf } from './evidence.dto.js';

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,128}$/;

class RegisterBody {
  @ApiPropertyOptional({ example: 'azj-0042', description: 'The next number of the series when left out' })
  @Optional()
  @Matches(SERIAL_PATTERN)
  @NotEquals('me') // `/devices/me` is the caller
  readonly serial?: string;
}

class DevicesQuery extends PageQuery {
  @ApiPropertyOptional({ enum: ['registered', 'enrolled', 'revoked'] })
  @Optional()
  @IsIn(['registered', 'enrolled', 'revoked'])
  readonly status?: DeviceView['status'];

  @ApiPropertyOptional({ description: 'Devices of this group only', example: 'canary' })
  @Optional()
  @Matches(SERIAL_PATTERN)
  readonly group?: string;
}

class RegisteredAnswer {
  @ApiProperty({ example: 'azj-0000' })
  readonly Serial!: string;
  @ApiProperty({ example: 'azj-0000@azaion.com' })
  readonly Email!: string;
  @ApiProperty({ description: '32 hexadecimal digits, shown once' })
  readonly Password!: string;
}

class ChallengeBody {
  @ApiProperty({ example: 'azj-0000@azaion.com' })
  @IsString()
  @MaxLength(320)
  readonly email!: string;

  @ApiProperty({ example: '00112233445566778899aabbccddeeff' })
  @IsString()
  @MaxLength(MAX_PASSWORD_CHARS)
  readonly password!: string;
}

class ChallengeAnswer {
  @ApiProperty({ description: 'base64url, 32 bytes; valid for 5 minutes, once' })
  readonly nonce!: string;
  @ApiProperty({ description: 'base64url, 65 bytes' })
  readonly agreementPoint!: string;
  @ApiProperty({ enum: ['none', 'tpm'], description: 'Whether evidence of a TPM is looked at' })
  readonly evidence!: 'none' | 'tpm';
}

class EnrolmentBody {
  @ApiProperty({ description: 'base64url, 32 bytes' })
  @IsBase64UrlBytes(32)
  readonly nonce!: string;

  @ApiProperty({ type: Object, example: { kty: 'EC', crv: 'P-256', x: '…', y: '…' } })
  @IsObject()
  readonly signingKey!: object;

  @ApiProperty({ description: 'base64url, 65 bytes' })
  @IsBase64UrlBytes(65)
  readonly agreementKey!: string;

  @ApiProperty({ description: 'ES256, base64url, 64 bytes' })
  @IsBase64UrlBytes(64)
  readonly signingProof!: string;

  @ApiProperty({ description: 'HMAC-SHA-256, base64url, 32 bytes' })
  @IsBase64UrlBytes(32)
  readonly agreementProof!: string;

  @ApiPropertyOptional({ type: EvidenceBody, description: 'What the TPM says about itself and the keys' })
  @Optional()
  @IsObject()
  @ValidateNested()
  @Type(() => EvidenceBody)
  readonly evidence?: EvidenceBody;
}

class ResetBody {
  @ApiPropertyOptional({
    description: 'Also forget the boot state that it was first attested in: after an update of its firmware',
    example: false,
  })
  @Optional()
  @IsBoolean()
  readonly newBootState?: boolean;
}

class HeldVersionAnswer {
  @ApiProperty({ example: 'models' })
  readonly folder!: string;
  @ApiProperty({ example: 'ocr-recognition.onnx' })
  readonly name!: string;
  @ApiProperty({ example: 1 })
  readonly version!: number;
}

class RunningImagesAnswer extends HeldVersionAnswer {
  @ApiProperty({ example: 'ready' })
  readonly state!: string;
}

class DeviceReportAnswer {
  @ApiProperty({ format: 'date-time' })
  readonly reportedAt!: string;
  @ApiProperty({ example: '0.1.0' })
  readonly loaderVersion!: string;
  @ApiProperty({ enum: ['credentials', 'hardware', 'tpm'], description: 'What its keys are tied to' })
  readonly binding!: string;
  @ApiProperty({ type: [HeldVersionAnswer] })
  readonly resources!: readonly AnswerOf<HeldVersionAnswer>[];
  @ApiProperty({ oneOf: [{ $ref: '#/components/schemas/RunningImagesAnswer' }, { type: 'null' }] })
  readonly images!: AnswerOf<RunningImagesAnswer> | null;
}

class ActivationAnswer {
  @ApiProperty({ description: 'Names the activation: base64url, 32 bytes; valid for 5 minutes, once' })
  readonly activation!: string;
  @ApiProperty({ description: 'For the TPM of the evidence (`TPM2B_ID_OBJECT`), base64url' })
  readonly credentialBlob!: string;
  @ApiProperty({ description: 'For the TPM of the evidence (`TPM2B_ENCRYPTED_SECRET`), base64url' })
  readonly encryptedSecret!: string;
}

class ActivationBody {
  @ApiProperty({ description: 'base64url, 32 bytes' })
  @IsBase64UrlBytes(ACTIVATION_BYTES)
  readonly activation!: string;

  @ApiProperty({ description: 'What the TPM took out of the credential: base64url, 32 bytes' })
  @IsBase64UrlBytes(ACTIVATION_BYTES)
  readonly secret!: string;
}

class AttestationAnswer {
  @ApiProperty({ format: 'date-time' })
  readonly attestedAt!: string;
  @ApiProperty({ description: 'Name of the endorsement key of its TPM, hexadecimal' })
  readonly endorsementName!: string;
  @ApiProperty({ example: 'sha256:0,2,4,7', description: 'Registers of the TPM that it quoted' })
  readonly pcrs!: string;
  @ApiProperty({ description: 'Digest of their values: the boot state that it enrolled in, hexadecimal' })
  readonly pcrDigest!: string;
}

class DeviceAnswer {
  @ApiProperty({ example: 'azj-0000' })
  readonly serial!: string;
  @ApiProperty({ example: 'azj-0000@azaion.com' })
  readonly email!: string;
  @ApiProperty({ enum: ['registered', 'enrolled', 'revoked'] })
  readonly status!: DeviceView['status'];
  @ApiProperty({ format: 'date-time' })
  readonly createdAt!: string;
  @ApiPropertyOptional({ format: 'date-time' })
  readonly enrolledAt?: string;
  @ApiPropertyOptional({
    type: AttestationAnswer,
    description: 'What its TPM has proven at its enrolment; missing for a device that is not attested',
  })
  readonly attestation?: AnswerOf<AttestationAnswer>;
  @ApiPropertyOptional({ format: 'date-time' })
  readonly lastSeenAt?: string;
  @ApiProperty({ type: [String], example: ['canary'] })
  readonly groups!: readonly string[];
  @ApiPropertyOptional({
    type: DeviceReportAnswer,
    description: 'What it last said about itself; nobody has checked it',
  })
  readonly report?: AnswerOf<DeviceReportAnswer>;
}

class DevicesAnswer {
  @ApiProperty({ type: [DeviceAnswer] })
  readonly devices!: readonly AnswerOf<DeviceAnswer>[];
  @ApiPropertyOptional({ description: 'Where the next page begins; missing on the last' })
  readonly cursor?: string;
}

/** Devices and their enrolment. */
@ApiTags('devices')
@ApiExtraModels(RunningImagesAnswer)
@Controller('devices')
export class DevicesController {
  constructor(
    private readonly registerDevice: RegisterDevice,
    private readonly enrolDevice: EnrolDevice,
    private readonly manageDevices: ManageDevices,
  ) {}

  @Post()
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Create a device and its account' })
  @ApiHeader({
    name: 'Idempotency-Key',
    required: false,
    description: 'A repeat returns the same device with a fresh password',
  })
  @ApiCreatedResponse({ type: RegisteredAnswer })
  @ProblemResponses(400, 401, 403, 409)
  async register(
    @Body() { serial }: RegisterBody,
    @Headers('idempotency-key') idempotencyKey: string | undefined,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
  ): Promise<AnswerOf<RegisteredAnswer>> {
    if (idempotencyKey !== undefined && !IDEMPOTENCY_KEY.test(idempotencyKey))
      throw invalidRequest(400, [{ field: 'Idempotency-Key', messages: ['must be 1 to 128 printable characters'] }]);
    const actor = { id: caller.userId, address };
    const device = await this.registerDevice.run(serial, idempotencyKey, actor);
    return { Serial: device.serial, Email: device.email, Password: device.password.reveal() };
  }

  @Get()
  @AllowRoles('Admin', 'ApiAdmin')
  @ApiOperation({ summary: 'List devices in the order of their serials' })
  @ApiOkResponse({ type: DevicesAnswer })
  @ProblemResponses(400, 401, 403)
  async list(@Query() { limit, cursor, status, group }: DevicesQuery): Promise<AnswerOf<DevicesAnswer>> {
    const page = await this.manageDevices.list({ limit, cursor, status, group });
    return { devices: page.devices.map(toAnswer), ...(page.cursor === undefined ? {} : { cursor: page.cursor }) };
  }

  @Get(':serial')
  @AllowRoles('Admin', 'ApiAdmin')
  @ApiOperation({ summary: 'One device' })
  @ApiOkResponse({ type: DeviceAnswer })
  @ProblemResponses(401, 403, 404)
  async one(@Param() { serial }: SerialParams): Promise<AnswerOf<DeviceAnswer>> {
    return toAnswer(await this.manageDevices.bySerial(serial));
  }

  @Post(':serial/revoke')
  @EmptyBody()
  @HttpCode(204)
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Revoke a device: it gets no grant from now on' })
  @ApiNoContentResponse({ description: 'Revoked' })
  @ProblemResponses(400, 401, 403, 404)
  async revoke(
    @Param() { serial }: SerialParams,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
  ): Promise<void> {
    await this.manageDevices.revoke(serial, { id: caller.userId, address });
  }

  @Post(':serial/reset')
  @HttpCode(204)
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Forget a device’s keys and let it enrol again' })
  @ApiBody({ type: ResetBody, required: false })
  @ApiNoContentResponse({ description: 'May enrol again with its password' })
  @ProblemResponses(400, 401, 403, 404)
  async reset(
    @Param() { serial }: SerialParams,
    @Body() { newBootState = false }: ResetBody,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
  ): Promise<void> {
    await this.manageDevices.reset(serial, newBootState, { id: caller.userId, address });
  }

  @Post(':serial/enrolment/challenge')
  @HttpCode(200)
  @Public()
  @ApiOperation({ summary: 'Begin an enrolment with the password of the device’s account' })
  @ApiOkResponse({ type: ChallengeAnswer })
  @ProblemResponses(400, 401, 403, 409, 429)
  async challenge(
    @Param() { serial }: SerialParams,
    @Body() { email, password }: ChallengeBody,
    @Ip() address: string,
  ): Promise<AnswerOf<ChallengeAnswer>> {
    const challenge = await this.enrolDevice.challenge(serial, { email, password: new Secret(password), address });
    return {
      nonce: toBase64Url(challenge.nonce),
      agreementPoint: toBase64Url(challenge.agreementPoint),
      evidence: challenge.isEvidenceAsked ? 'tpm' : 'none',
    };
  }

  @Post(':serial/enrolment')
  @HttpCode(204)
  @Public()
  @ApiOperation({ summary: 'Register a device’s keys with proof that it holds both' })
  @ApiNoContentResponse({ description: 'Enrolled: from now on the device logs in with its key' })
  @ApiAcceptedResponse({ type: ActivationAnswer, description: 'The evidence holds; the TPM must open the credential' })
  @ProblemResponses(400, 401, 403, 409, 422)
  async enrol(
    @Param() { serial }: SerialParams,
    @Body() body: EnrolmentBody,
    @Ip() address: string,
    @Res({ passthrough: true }) reply: { status(code: number): unknown },
  ): Promise<AnswerOf<ActivationAnswer> | undefined> {
    const { signingKey } = body;
    if (!isPublicJwk(signingKey))
      throw invalidRequest(400, [{ field: 'signingKey', messages: ['must be a P-256 JWK: kty, crv, x, y'] }]);
    const proof = {
      nonce: bytesOf(body.nonce),
      signingKey,
      agreementKey: bytesOf(body.agreementKey),
      signingProof: bytesOf(body.signingProof),
      agreementProof: bytesOf(body.agreementProof),
    };
    const evidence = body.evidence === undefined ? undefined : evidenceOf(body.evidence);
    const activation = await this.enrolDevice.run(serial, proof, evidence, address);
    if (activation === undefined) return undefined;
    reply.status(202);
    return {
      activation: toBase64Url(activation.token),
      credentialBlob: toBase64Url(activation.credential.credentialBlob),
      encryptedSecret: toBase64Url(activation.credential.encryptedSecret),
    };
  }

  @Post(':serial/enrolment/activation')
  @HttpCode(204)
  @Public()
  @ApiOperation({ summary: 'Finish an enrolment with what the TPM took out of its credential' })
  @ApiNoContentResponse({ description: 'Enrolled and attested' })
  @ProblemResponses(400, 401, 403, 409, 422)
  async activate(
    @Param() { serial }: SerialParams,
    @Body() { activation, secret }: ActivationBody,
    @Ip() address: string,
  ): Promise<void> {
    await this.enrolDevice.activate(serial, bytesOf(activation), bytesOf(secret), address);
  }
}

function toAnswer(device: DeviceView): AnswerOf<DeviceAnswer> {
  return {
    serial: device.serial,
    email: device.email,
    status: device.status,
    createdAt: device.createdAt.toISOString(),
    ...(device.enrolledAt === undefined ? {} : { enrolledAt: device.enrolledAt.toISOString() }),
    ...(device.attestation === undefined
      ? {}
      : { attestation: { ...device.attestation, attestedAt: device.attestation.attestedAt.toISOString() } }),
    ...(device.lastSeenAt === undefined ? {} : { lastSeenAt: device.lastSeenAt.toISOString() }),
    groups: device.groups,
    ...(device.report === undefined
      ? {}
      : { report: { ...device.report, reportedAt: device.report.reportedAt.toISOString() } }),
  };
}
