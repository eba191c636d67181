import { readFile } from 'node:fs/promises';

import type { Caller } from '@azaion/identity';
import { AllowRoles, CurrentCaller, Public } from '@azaion/nest-support';
import { Controller, type DynamicModule, Get, Inject, Module, Param, Res } from '@nestjs/common';
import { ApiExcludeEndpoint, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { HttpProblem } from '@azaion/nest-support';
import type { FastifyReply } from 'fastify';

import type { Plain } from '../http/plain.js';
import type { LoaderDevice } from '../loader-adapters.js';
import { Activity } from './activity.js';
import { HeldResources, seesAll } from './held-resources.js';
import { OverviewAnswer } from './overview.dto.js';

/** Files of the page, as they lie in `public`, with their media types. */
const FILES = {
  'index.html': 'text/html; charset=utf-8',
  'status.css': 'text/css; charset=utf-8',
  'status.js': 'text/javascript; charset=utf-8',
  'icon.svg': 'image/svg+xml',
} as const;
type FileName = keyof typeof FILES;
/** Of the page: its own files and this service, nothing else, and no script or style in the document itself. */
const PAGE_CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
  "frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const PAGE_FILES = 'azaion:page-files';
const DEVICE = 'azaion:page-device';
/** Most versions shown. */
const MAX_HELD = 500;

/** The status page at `/`, and what it shows to those who look after the device. */
@ApiTags('health')
@Controller()
export class StatusPageController {
  constructor(
    private readonly activity: Activity,
    private readonly held: HeldResources,
    @Inject(PAGE_FILES) private readonly files: ReadonlyMap<string, Buffer>,
    @Inject(DEVICE) private readonly device: LoaderDevice | null,
  ) {}

  @Get()
  @Public()
  @ApiExcludeEndpoint()
  page(@Res() reply: FastifyReply): Promise<void> {
    return this.send('index.html', reply);
  }

  @Get('page/:file')
  @Public()
  @ApiExcludeEndpoint()
  file(@Param('file') file: string, @Res() reply: FastifyReply): Promise<void> {
    if (!isFile(file)) throw new HttpProblem('route.not-found', 'There is nothing at this address.');
    return this.send(file, reply);
  }

  @Get('overview')
  @AllowRoles('Operator', 'CompanionPC', 'Admin', 'ApiAdmin')
  @ApiOperation({ summary: 'Who is logged in, what lies here, what was served, and what failed lately' })
  @ApiOkResponse({ type: OverviewAnswer })
  async overview(@CurrentCaller() caller: Caller): Promise<Plain<OverviewAnswer>> {
    const { activity, device } = this;
    activity.recordSeen(caller, '/overview'); // who looks is among those who are logged in
    const { held, unleased } = await this.held.currentFor(caller);
    const isShown = ({ userId }: { readonly userId: string | undefined }): boolean =>
      seesAll(caller) || userId === caller.userId;
    return {
      serial: device?.serial ?? null,
      deviceLoggedIn: device?.authenticated ?? false,
      people: activity
        .people()
        .filter(isShown)
        .map(({ email, role, lastSeenMs, expiresAtMs }) => ({
          email,
          role,
          lastSeen: isoTime(lastSeenMs),
          expiresAt: isoTime(expiresAtMs),
        })),
      held: held.slice(0, MAX_HELD).map(({ leasedUntil, ...version }) => ({
        ...version,
        leasedUntil: isoTime(leasedUntil * 1000),
      })),
      unleased,
      resources: activity
        .resources()
        .filter(({ folder }) => this.held.maySeeFolder(caller, folder))
        .map(({ lastServedMs, ...resource }) => ({ ...resource, lastServed: isoTime(lastServedMs) })),
      failures: activity
        .failures()
        .filter(isShown)
        .map(({ atMs, method, path, status, code, detail, requestId }) => ({
          at: isoTime(atMs),
          request: `${method} ${path}`,
          status,
          code,
          detail,
          requestId,
        })),
    };
  }

  private async send(file: FileName, reply: FastifyReply): Promise<void> {
    await reply
      .headers({
        'content-type': FILES[file],
        'content-security-policy': PAGE_CSP,
        'cache-control': 'no-cache',
      })
      .send(this.files.get(file));
  }
}

/** The status page. */
@Module({})
export class StatusPageModule {
  /**
   * Reads the page's files into memory: they are small.
   *
   * @param directory - Where they lie; ends with a slash.
   * @throws Error of the file system.
   */
  static async register(directory: URL, activity: Activity, device: LoaderDevice | undefined): Promise<DynamicModule> {
    const names = Object.keys(FILES);
    const contents = await Promise.all(names.map((name) => readFile(new URL(name, directory))));
    return {
      module: StatusPageModule,
      controllers: [StatusPageController],
      providers: [
        { provide: PAGE_FILES, useValue: new Map(names.map((name, index) => [name, contents[index]])) },
        { provide: Activity, useValue: activity },
        { provide: DEVICE, useValue: device ?? null },
      ],
    };
  }
}

function isFile(name: string): name is FileName {
  return Object.hasOwn(FILES, name);
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
