import { FileObjectStore } from '@azaion/adapters/file-objects';
import { HttpProblem, Public } from '@azaion/nest-support';
import { ObjectStore } from '@azaion/split-resource';
import { Controller, Get, Put, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** The objects of the file store by their signed URLs: the signature is the permission. */
@ApiExcludeController()
@Public()
@Controller('objects')
export class ObjectsController {
  constructor(private readonly objects: ObjectStore) {}

  @Get('*')
  read(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.serve(request, reply);
  }

  @Put('*')
  write(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.serve(request, reply);
  }

  private async serve(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    if (!(this.objects instanceof FileObjectStore))
      throw new HttpProblem('route.not-found', 'There is nothing at this address.');
    reply.hijack();
    await this.objects.server.handle(request.raw, reply.raw);
  }
}
