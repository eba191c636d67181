import { ROLES, type Role } from '@azaion/identity';
import { Secret } from '@azaion/kernel';
import { AllowRoles, Public, ProblemResponses } from '@azaion/nest-support';
import { Body, Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';

import { LogIn, LogOut } from '../session/log-in.js';
import { bearerOf } from './bearer.js';
import { LoginAnswer, LoginDto } from './login.dto.js';
import type { Plain } from './plain.js';

const EVERY_ROLE = Object.keys(ROLES) as [Role, ...Role[]];

/** F1. */
@ApiTags('session')
@Controller()
export class SessionController {
  constructor(
    private readonly logIn: LogIn,
    private readonly logOut: LogOut,
  ) {}

  @ProblemResponses(401, 429, 502, 504)
  @Post('login')
  @HttpCode(200)
  @Public()
  @ApiOperation({ summary: 'Log in and get an access token' })
  @ApiOkResponse({ type: LoginAnswer })
  async login(@Body() body: LoginDto, @Req() request: FastifyRequest): Promise<Plain<LoginAnswer>> {
    const login = await this.logIn.run(body.email, new Secret(body.password), request.ip);
    return {
      status: 'ok',
      access_token: login.accessToken.reveal(),
      token_type: 'Bearer',
      expires_in: login.expiresInSeconds,
      role: login.role,
    };
  }

  @ProblemResponses(502, 504)
  @Post('logout')
  @HttpCode(204)
  @AllowRoles(...EVERY_ROLE)
  @ApiOperation({ summary: 'Log out: the session and its keys are forgotten' })
  @ApiNoContentResponse()
  async logout(@Req() request: FastifyRequest): Promise<void> {
    await this.logOut.run(bearerOf(request));
  }
}
