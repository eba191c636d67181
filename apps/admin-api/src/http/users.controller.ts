import { type Caller, parseRole, type Role, ROLES } from '@azaion/identity';
import { Secret } from '@azaion/kernel';
import { AllowRoles, AnyRole, CurrentCaller, invalidRequest } from '@azaion/nest-support';
import { Body, Controller, Get, Ip, Post, Query } from '@nestjs/common';
import {
  ApiCreatedResponse,
  ApiOkResponse,
  ApiOperation,
  ApiProperty,
  ApiPropertyOptional,
  ApiTags,
} from '@nestjs/swagger';
import { IsOptional, IsString, MaxLength } from 'class-validator';

import { MAX_PASSWORD_CHARS } from '../tokens/password-hasher.js';
import { CreateUser } from '../users/create-user.js';
import { ListUsers, type UserView } from '../users/list-users.js';
import { type AnswerOf, PageQuery } from './dto.js';
import { IsRole } from './is-role.js';
import { ProblemResponses } from './problems.js';

class CreateUserBody {
  @ApiProperty({ example: 'publisher@example.com' })
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
  @IsOptional()
  @IsString()
  @MaxLength(320)
  readonly searchEmail?: string;

  @ApiPropertyOptional({ description: 'Name or number of a role' })
  @IsOptional()
  @IsRole()
  readonly searchRole?: string;
}

class UserAnswer {
  @ApiProperty({ format: 'uuid' })
  readonly id!: string;
  @ApiProperty({ example: 'publisher@example.com' })
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
