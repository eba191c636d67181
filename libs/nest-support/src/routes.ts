import { type INestApplication, RequestMethod, type Type } from '@nestjs/common';
import { METHOD_METADATA, PATH_METADATA } from '@nestjs/common/constants.js';
import { ModulesContainer } from '@nestjs/core';

import { ACCESS_RULE, type AccessRule } from './access.js';

/** A route of an application with the rule that decides who may call it. */
export interface RouteRule {
  readonly method: string;
  readonly path: string;
  /** `Controller.handler`. */
  readonly handler: string;
  readonly rule: AccessRule | undefined;
}

/** Every route of every controller with its rule, for the test that none goes without. */
export function listRoutes(app: INestApplication): readonly RouteRule[] {
  const modules = [...app.get(ModulesContainer, { strict: false }).values()];
  const controllers = new Set(
    modules.flatMap((module) => [...module.controllers.values()].map(({ metatype }) => metatype as Type)),
  );
  return [...controllers].flatMap(routesOf);
}

/** Routes that nobody may use because they declare no rule. Must be empty. */
export function undeclaredRoutes(app: INestApplication): readonly RouteRule[] {
  return listRoutes(app).filter(({ rule }) => rule === undefined);
}

function routesOf(controller: Type): RouteRule[] {
  const prototype = controller.prototype as Record<string, unknown>;
  return methodNames(prototype).flatMap((name) => {
    const handler = prototype[name] as object;
    const method = Reflect.getMetadata(METHOD_METADATA, handler) as RequestMethod | undefined;
    if (method === undefined) return [];
    const rule = (Reflect.getMetadata(ACCESS_RULE, handler) ?? Reflect.getMetadata(ACCESS_RULE, controller)) as
      AccessRule | undefined;
    const paths = texts(Reflect.getMetadata(PATH_METADATA, controller)).flatMap((prefix) =>
      texts(Reflect.getMetadata(PATH_METADATA, handler)).map((path) => joined(prefix, path)),
    );
    return paths.map((path) => ({ method: RequestMethod[method], path, handler: `${controller.name}.${name}`, rule }));
  });
}

function methodNames(prototype: object): string[] {
  const names = new Set<string>();
  for (let level = prototype; level !== Object.prototype; level = Object.getPrototypeOf(level) as object)
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(level)))
      if (name !== 'constructor' && typeof value === 'function') names.add(name);
  return [...names];
}

function texts(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value ?? '']).map(String);
}

function joined(prefix: string, path: string): string {
  return `/${[prefix, path]
    .flatMap((part) => part.split('/'))
    .filter((part) => part !== '')
    .join('/')}`;
}
