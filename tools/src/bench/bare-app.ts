import 'reflect-metadata';

import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';

@Controller('health')
class BareController {
  @Get()
  health(): object {
    return { status: 'healthy' };
  }
}

@Module({ controllers: [BareController] })
class BareModule {}

/** P12's baseline: `node bare-app.js PORT` is Nest with Fastify and Swagger UI and nothing else. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- Nest declares its options as a class
const app = await NestFactory.create<NestFastifyApplication>(BareModule, new FastifyAdapter(), { logger: false });
SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, new DocumentBuilder().build()));
await app.listen(Number(process.argv[2] ?? 0), '127.0.0.1');
