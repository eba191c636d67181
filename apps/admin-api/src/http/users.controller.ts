import { type Caller, IdentityError, parseRole, type Role, ROLES } from '@azaion/identity';
import { Secret } from '@azaion/kernel';
import { AllowRoles, AnyRole, CurrentCaller, invalidRequest, Optional, ProblemResponses } from '@azaion/nest-support';
import { Body, Controller, Delete, Get, HttpCode, Ip, Param, Patch, Post, Put, Query } from '@nestjs/common';
import {
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiProperty,
  ApiPropertyOptional,
  ApiTags,
} from '@nestjs/swagger';
import { IsString, MaxLength } from 'class-validator';

import { MAX_PASSWORD_CHARS } from '../tokens/password-hasher.js';
import { CreateUser } from '../users/create-user.js';
import { ListUsers, type UserView } from '../users/list-users.js';
import { ManageUsers } from '../users/manage-users.js';
import { type AnswerOf, PageQuery } from './dto.js';
import { EmptyBody } from './empty-body.js';
import { IsRole } from './is-role.js';

class CreateUserBody {
  @ApiProperty({ example: 'uploader@azaion.example' })
  @IsString()
  @MaxLength(320)
  readonly email!: string;

  @ApiProperty({ minLength: 12, example: 'correct horse battery staple' })
  @IsString()
  @MaxLength(MAX_PASSWORD_CHARS)
  readonly password!: string;

  @ApiProperty({
    oneOf: [{ type: 'string', enum: Object.keys(ROLES) }, { type: 'integer' }],
    example: 'ResourceUploader',
  })
  @IsRole()
  readonly role!: string | number;
}

class UsersQuery extends PageQuery {
  @ApiPropertyOptional({ description: 'Part of the e-mail address' })
  @Optional()
  @IsString()
  @MaxLength(320)
  readonly searchEmail?: string;

  @ApiPropertyOptional({ description: 'Name or number of a role' })
  @Optional()
  @IsRole()
  readonly searchRole?: string;
}

class EmailParams {
  @ApiProperty({ example: 'uploader@azaion.example' })
  @IsString()
  @MaxLength(320)
  readonly email!: string;
}

class SetRoleParams extends EmailParams {
  @ApiProperty({ enum: Object.keys(ROLES), description: 'Name or number', example: 'Validator' })
  @IsRole()
  readonly role!: string;
}

class PasswordBody {
  @ApiPropertyOptional({
    description: 'The caller’s own account when left out; others are for ApiAdmin',
    example: 'uploader@azaion.example',
  })
  @Optional()
  @IsString()
  @MaxLength(320)
  readonly email?: string;

  @ApiPropertyOptional({ description: 'Needed for the own account' })
  @Optional()
  @IsString()
  @MaxLength(MAX_PASSWORD_CHARS)
  readonly oldPassword?: string;

  @ApiProperty({ minLength: 12, example: 'correct horse battery staple' })
  @IsString()
  @MaxLength(MAX_PASSWORD_CHARS)
  readonly newPassword!: string;
}

class UserAnswer {
  @ApiProperty({ format: 'uuid' })
  readonly id!: string;
  @ApiProperty({ example: 'uploader@azaion.example' })
  readonly email!: string;
  @ApiProperty({ enum: Object.keys(ROLES) })
  readonly role!: Role;
  @ApiProperty({ example: 50 })
  readonly roleId!: number;
  @ApiProperty()
  readonly isEnabled!: boolean;
  @ApiProperty({ format: 'date-time' })
  readonly createdAt!: string;
  @ApiPropertyOptional({ format: 'date-time' })
  readonly lastLogin?: string;
}

class UsersAnswer {
  @ApiProperty({ type: [UserAnswer] })
  readonly users!: readonly AnswerOf<UserAnswer>[];
  @ApiPropertyOptional({ description: 'Where the next page begins; missing on the last' })
  readonly cursor?: string;
}

/** Accounts. */
@ApiTags('users')
@Controller('users')
export class UsersController {
  constructor(
    private readonly createUser: CreateUser,
    private readonly listUsers: ListUsers,
    private readonly manageUsers: ManageUsers,
  ) {}

  @Get('current')
  @AnyRole()
  @ApiOperation({ summary: 'The caller' })
  @ApiOkResponse({ type: UserAnswer })
  @ProblemResponses(401)
  async current(@CurrentCaller() caller: Caller): Promise<AnswerOf<UserAnswer>> {
    return toAnswer(await this.listUsers.byId(caller.userId));
  }

  @Post()
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Create an account' })
  @ApiCreatedResponse({ type: UserAnswer })
  @ProblemResponses(400, 401, 403, 409)
  async create(
    @Body() body: CreateUserBody,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
  ): Promise<AnswerOf<UserAnswer>> {
    const role = parseRole(body.role);
    if (role === undefined) throw invalidRequest(400, [{ field: 'role', messages: ['is not a role'] }]);
    const user = { email: body.email, password: new Secret(body.password), role };
    return toAnswer(await this.listUsers.byId(await this.createUser.run(user, { id: caller.userId, address })));
  }

  @Get()
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'List accounts in the order of their addresses' })
  @ApiOkResponse({ type: UsersAnswer })
  @ProblemResponses(400, 401, 403)
  async list(@Query() query: UsersQuery): Promise<AnswerOf<UsersAnswer>> {
    const { users, cursor } = await this.listUsers.page({
      searchEmail: query.searchEmail,
      searchRole: parseRole(query.searchRole),
      limit: query.limit,
      cursor: query.cursor,
    });
    return { users: users.map(toAnswer), ...(cursor === undefined ? {} : { cursor }) };
  }

  @Patch('password')
  @HttpCode(204)
  @AnyRole()
  @ApiOperation({ summary: 'Change a password: one’s own with the old one, for ApiAdmin anybody’s' })
  @ApiNoContentResponse({ description: 'Changed; all sessions of the account have ended' })
  @ProblemResponses(400, 401, 403, 404, 409, 429)
  async changePassword(
    @Body() { email, oldPassword, newPassword }: PasswordBody,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
  ): Promise<void> {
    const isOwn = email === undefined || email.toLowerCase() === caller.email.toLowerCase();
    if (!isOwn && caller.role !== 'ApiAdmin')
      throw new IdentityError('role.forbidden', 'Only an administrator may change the password of others.');
    if (isOwn && oldPassword === undefined)
      throw invalidRequest(400, [{ field: 'oldPassword', messages: ['is needed to change the own password'] }]);
    await this.manageUsers.setPassword(
      {
        email: isOwn ? caller.email : email,
        oldPassword: oldPassword === undefined ? undefined : new Secret(oldPassword),
        newPassword: new Secret(newPassword),
      },
      isOwn,
      { id: caller.userId, address },
    );
  }

  @Put(':email/set-role/:role')
  @EmptyBody()
  @HttpCode(204)
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Give an account another role; its sessions end' })
  @ApiNoContentResponse({ description: 'Changed' })
  @ProblemResponses(400, 401, 403, 404, 409)
  async setRole(
    @Param() { email, role }: SetRoleParams,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
  ): Promise<void> {
    await this.manageUsers.setRole(email, parseRole(role) ?? 'None', { id: caller.userId, address });
  }

  @Put(':email/enable')
  @EmptyBody()
  @HttpCode(204)
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Let an account be used again' })
  @ApiNoContentResponse({ description: 'In use' })
  @ProblemResponses(400, 401, 403, 404)
  async enable(@Param() { email }: EmailParams, @CurrentCaller() caller: Caller, @Ip() address: string): Promise<void> {
    await this.manageUsers.enable(email, { id: caller.userId, address });
  }

  @Put(':email/disable')
  @EmptyBody()
  @HttpCode(204)
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Keep an account from being used: no login and no grant from now on' })
  @ApiNoContentResponse({ description: 'Out of use' })
  @ProblemResponses(400, 401, 403, 404, 409)
  async disable(
    @Param() { email }: EmailParams,
    @CurrentCaller() caller: Caller,
    @Ip() address: string,
  ): Promise<void> {
    await this.manageUsers.disable(email, { id: caller.userId, address });
  }

  @Delete(':email')
  @EmptyBody()
  @HttpCode(204)
  @AllowRoles('ApiAdmin')
  @ApiOperation({ summary: 'Remove an account; what it published stays' })
  @ApiNoContentResponse({ description: 'Removed' })
  @ProblemResponses(400, 401, 403, 404, 409)
  async remove(@Param() { email }: EmailParams, @CurrentCaller() caller: Caller, @Ip() address: string): Promise<void> {
    await this.manageUsers.remove(email, { id: caller.userId, address });
  }
}

function toAnswer(user: UserView): AnswerOf<UserAnswer> {
  return {
    id: user.id,
    email: user.email,
    role: user.role,
    roleId: ROLES[user.role],
    isEnabled: user.isEnabled,
    createdAt: user.createdAt.toISOString(),
    ...(user.lastLogin === undefined ? {} : { lastLogin: user.lastLogin.toISOString() }),
  };
}
