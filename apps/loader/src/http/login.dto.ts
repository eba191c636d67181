import { ApiProperty } from '@nestjs/swagger';
import { IsString, MaxLength, MinLength } from 'class-validator';

/** Body of `POST /login`. */
export class LoginDto {
  @ApiProperty({ example: 'operator@azaion.example' })
  @IsString()
  @MinLength(1)
  @MaxLength(254)
  readonly email!: string;

  @ApiProperty({ example: 'the password of this account', format: 'password' })
  @IsString()
  @MinLength(1)
  @MaxLength(1024)
  readonly password!: string;
}

/** Answer of `POST /login`. */
export class LoginAnswer {
  @ApiProperty({ example: 'ok' })
  readonly status!: 'ok';

  @ApiProperty({ description: "The Admin API's token, unchanged" })
  readonly access_token!: string;

  @ApiProperty({ example: 'Bearer' })
  readonly token_type!: 'Bearer';

  @ApiProperty({ example: 900, description: 'Seconds' })
  readonly expires_in!: number;

  @ApiProperty({ example: 'Operator' })
  readonly role!: string;
}
