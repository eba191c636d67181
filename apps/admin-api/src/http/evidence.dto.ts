import { MAX_CERTIFICATE_BYTES, parsePcrSelection, PCR_BYTES, type TpmEvidence } from '@azaion/identity';
import { invalidRequest, Optional } from '@azaion/nest-support';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { ArrayMaxSize, ArrayMinSize, IsArray, IsObject, IsString, MaxLength, ValidateNested } from 'class-validator';

import { bytesOf, IsBase64UrlBytes } from './dto.js';

const MAX_AREA_BYTES = 1024;
const MAX_STATEMENT_BYTES = 2048;
const MAX_PCRS = 24;
const MAX_SELECTION_CHARS = 80;

class StatementBody {
  @ApiProperty({ description: '`TPMS_ATTEST`, base64url' })
  @IsBase64UrlBytes(1, MAX_STATEMENT_BYTES)
  readonly statement!: string;

  @ApiProperty({ description: '`TPMT_SIGNATURE`, base64url' })
  @IsBase64UrlBytes(1, MAX_AREA_BYTES)
  readonly signature!: string;
}

/** What a TPM says about itself and about the keys that enrol. Source: docs/reference/sealed-wire.md, "Devices". */
export class EvidenceBody {
  @ApiProperty({ description: '`TPMT_PUBLIC`, base64url' })
  @IsBase64UrlBytes(1, MAX_AREA_BYTES)
  readonly endorsementKey!: string;

  @ApiPropertyOptional({ description: 'DER, base64url' })
  @Optional()
  @IsBase64UrlBytes(1, MAX_CERTIFICATE_BYTES)
  readonly endorsementCertificate?: string;

  @ApiProperty({ description: '`TPMT_PUBLIC`, base64url' })
  @IsBase64UrlBytes(1, MAX_AREA_BYTES)
  readonly attestationKey!: string;

  @ApiProperty({ description: '`TPMT_PUBLIC`, base64url' })
  @IsBase64UrlBytes(1, MAX_AREA_BYTES)
  readonly agreementKey!: string;

  @ApiProperty({ description: '`TPMT_PUBLIC`, base64url' })
  @IsBase64UrlBytes(1, MAX_AREA_BYTES)
  readonly signingKey!: string;

  @ApiProperty({ type: StatementBody })
  @IsObject()
  @ValidateNested()
  @Type(() => StatementBody)
  readonly agreementCertified!: StatementBody;

  @ApiProperty({ type: StatementBody })
  @IsObject()
  @ValidateNested()
  @Type(() => StatementBody)
  readonly signingCertified!: StatementBody;

  @ApiProperty({ example: 'sha256:0,2,4,7' })
  @IsString()
  @MaxLength(MAX_SELECTION_CHARS)
  readonly pcrs!: string;

  @ApiProperty({ type: [String], description: 'Of the registers, in their order: base64url, 32 bytes each' })
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_PCRS)
  @IsBase64UrlBytes(PCR_BYTES, PCR_BYTES, { each: true })
  readonly pcrValues!: readonly string[];

  @ApiProperty({ type: StatementBody })
  @IsObject()
  @ValidateNested()
  @Type(() => StatementBody)
  readonly quote!: StatementBody;
}

/** The evidence in a body that was checked for its form. */
export function evidenceOf(body: EvidenceBody): TpmEvidence {
  const pcrs = parsePcrSelection(body.pcrs);
  if (pcrs === undefined)
    throw invalidRequest(400, [{ field: 'evidence.pcrs', messages: ['must name registers of the SHA-256 bank'] }]);
  const statement = (it: StatementBody): TpmEvidence['quote'] => ({
    statement: bytesOf(it.statement),
    signature: bytesOf(it.signature),
  });
  return {
    endorsementKey: bytesOf(body.endorsementKey),
    endorsementCertificate:
      body.endorsementCertificate === undefined ? undefined : bytesOf(body.endorsementCertificate),
    attestationKey: bytesOf(body.attestationKey),
    agreementKey: bytesOf(body.agreementKey),
    signingKey: bytesOf(body.signingKey),
    agreementCertified: statement(body.agreementCertified),
    signingCertified: statement(body.signingCertified),
    pcrs,
    pcrValues: body.pcrValues.map(bytesOf),
    quote: statement(body.quote),
  };
}
