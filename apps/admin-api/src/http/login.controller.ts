import type { Caller } from '@azaion/identity';
import { Secret } from '@azaion/kernel';
import { AnyRole, CurrentCaller, Public, ProblemResponses } from '@azaion/nest-support';
import { Body, Controller, Get, Header, HttpCode, Ip, Post } from '@nestjs/common';
import { ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import { IsNotEmpty, IsString, MaxLength } from 'class-validator';

import { LogInDevice } from '../devices/log-in-device.js';
import { OwnJwks } from '../keys/own-jwks.js';
import { LogIn } from '../tokens/log-in.js';
import { MAX_PASSWORD_CHARS } from '../tokens/password-hasher.js';
import { type IssuedTokens, Sessions } from '../tokens/sessions.js';
import type { AnswerOf } from './dto.js';
import { EmptyBody } from './empty-body.js';

const MAX_TOKEN_CHARS = 512;

class LoginBody {
  @ApiProperty({ example: 'admin@azaion.example' })
  @IsString()
  @MaxLength(320)
  readonly email!: string;

  @ApiProperty({ example: 'the password of this account', format: 'password' })
  @IsString()
  @MaxLength(MAX_PASSWORD_CHARS)
  readonly password!: string;
}

class DeviceLoginBody {
  @ApiProperty({ description: 'RFC 7523 assertion signed by the enrolled key', example: 'eyJhbGciOiJFUzI1NiIs…' })
  @IsString()
  @IsNotEmpty()
  @MaxLength(4096)
  readonly assertion!: string;
}

class RefreshBody {
  @ApiProperty({ example: 'n2J9m3cV…' })
  @IsString()
  @IsNotEmpty()
  @MaxLength(MAX_TOKEN_CHARS)
  readonly refreshToken!: string;
}

class TokenAnswer {
  @ApiProperty({ description: 'The same as `access_token`, for older clients' })
  readonly token!: string;
  @ApiProperty()
  readonly access_token!: string;
  @ApiProperty({ example: 'Bearer' })
  readonly token_type!: 'Bearer';
  @ApiProperty({ description: 'Seconds', example: 900 })
  readonly expires_in!: number;
  @ApiProperty({ description: 'Works once' })
  readonly refresh_token!: string;
  @ApiProperty({ description: 'Seconds', example: 28800 })
  readonly refresh_expires_in!: number;
}

/** F1: logins and what keeps them alive. */
@ApiTags('login')
@Controller()
export class LoginController {
  constructor(
    private readonly logIn: LogIn,
    private readonly logInDevice: LogInDevice,
    private readonly sessions: Sessions,
    private readonly keys: OwnJwks,
  ) {}

  @Post('login')
  @HttpCode(200)
  @Header('Cache-Control', 'no-store')
  @Public()
  @ApiOperation({ summary: 'Log in with e-mail address and password' })
  @ApiOkResponse({ type: TokenAnswer })
  @ProblemResponses(400, 401, 409, 429, 503)
  async login(@Body() { email, password }: LoginBody, @Ip() address: string): Promise<AnswerOf<TokenAnswer>> {
    return toAnswer(await this.logIn.run({ email, password: new Secret(password), address }));
  }

  @Post('login/device')
  @HttpCode(200)
  @Header('Cache-Control', 'no-store')
  @Public()
  @ApiOperation({ summary: 'Log an enrolled device in with its key' })
  @ApiOkResponse({ type: TokenAnswer })
  @ProblemResponses(400, 401, 403, 429)
  async loginDevice(@Body() { assertion }: DeviceLoginBody, @Ip() address: string): Promise<AnswerOf<TokenAnswer>> {
    return toAnswer(await this.logInDevice.run(assertion, address));
  }

  @Post('token/refresh')
  @HttpCode(200)
  @Header('Cache-Control', 'no-store')
  @Public()
  @ApiOperation({ summary: 'Trade a refresh token for new tokens; its reuse ends the session' })
  @ApiOkResponse({ type: TokenAnswer })
  @ProblemResponses(400, 401, 429)
  async refresh(@Body() { refreshToken }: RefreshBody, @Ip() address: string): Promise<AnswerOf<TokenAnswer>> {
    return toAnswer(await this.sessions.refresh(refreshToken, address));
  }

  @Post('logout')
  @EmptyBody()
  @HttpCode(204)
  @AnyRole()
  @ApiOperation({ summary: 'End this session' })
  @ApiNoContentResponse({ description: 'The session can’t be refreshed any more' })
  @ProblemResponses(400, 401)
  async logout(@CurrentCaller() caller: Caller, @Ip() address: string): Promise<void> {
    await this.sessions.end(caller.sessionId, { id: caller.userId, address });
  }

  @Post('logout/all')
  @EmptyBody()
  @HttpCode(204)
  @AnyRole()
  @ApiOperation({ summary: 'End all sessions of the caller' })
  @ApiNoContentResponse({ description: 'No session can be refreshed any more' })
  @ProblemResponses(400, 401)
  async logoutAll(@CurrentCaller() caller: Caller, @Ip() address: string): Promise<void> {
    await this.sessions.endAllOf({ id: caller.userId, address });
  }

  @Get('.well-known/jwks.json')
  @Header('Cache-Control', 'public, max-age=300')
  @Public()
  @ApiOperation({ summary: 'The keys that sign access tokens (RFC 7517)' })
  @ApiOkResponse({ description: 'A JWK set' })
  async jwks(): Promise<object> {
    return this.keys.currentKeys();
  }
}

function toAnswer(issued: IssuedTokens): AnswerOf<TokenAnswer> {
  return {
    token: issued.accessToken,
    access_token: issued.accessToken,
    token_type: 'Bearer',
    expires_in: issued.expiresInSeconds,
    refresh_token: issued.refreshToken,
    refresh_expires_in: issued.refreshExpiresInSeconds,
  };
}
