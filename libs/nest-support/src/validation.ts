import { type ArgumentMetadata, Injectable, type PipeTransform, ValidationPipe } from '@nestjs/common';
import type { ValidationError } from 'class-validator';

import { HttpProblem } from './problem.js';

const UNKNOWN_FIELD = 'is not known here';
const MAX_DEPTH = 16;

/** One refused field: its path (`images.0.reference`) and what is wrong with it. */
export interface FieldError {
  readonly field: string;
  readonly messages: readonly string[];
}

/** A pipe that checks bodies, queries and parameters against their classes. Every bad field is listed, unknown ones among them. */
@Injectable()
export class StrictValidationPipe implements PipeTransform {
  private readonly pipe: ValidationPipe;

  constructor(private readonly status: 400 | 422) {
    this.pipe = new ValidationPipe({
      transform: true,
      whitelist: true,
      forbidNonWhitelisted: true,
      forbidUnknownValues: true,
      validationError: { target: false, value: false },
      exceptionFactory: (errors: ValidationError[]) => invalidRequest(this.status, fieldErrors(errors)),
    });
  }

  async transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    // A body that was not sent is an empty object: the class says which members it misses.
    if (metadata.type === 'body' && value === undefined) value = {};
    if (metadata.type !== 'custom' && isDto(metadata.metatype)) {
      if (metadata.type === 'body' && !isPlainObject(value))
        throw invalidRequest(this.status, [{ field: 'body', messages: ['must be a JSON object'] }]);
      const dangerous = dangerousMembers(value);
      if (dangerous.length > 0) throw invalidRequest(this.status, dangerous);
    }
    return this.pipe.transform(value, metadata) as Promise<unknown>;
  }
}

/** The pipe for an application: the Loader answers 422, the Admin API 400. */
export function validationPipe(options: { readonly status: 400 | 422 }): StrictValidationPipe {
  return new StrictValidationPipe(options.status);
}

/** The problem that lists refused fields, also for checks a class cannot express. */
export function invalidRequest(status: 400 | 422, errors: readonly FieldError[]): HttpProblem<'request.invalid'> {
  const fields = errors.map(({ field }) => field).join(', ');
  return new HttpProblem('request.invalid', `The request is not valid. Check: ${fields}.`, {
    status,
    members: { errors },
  });
}

/** Members that every object has by itself; class-transformer and class-validator pass them by in silence. */
function isInherent(name: string): boolean {
  return name in Object.prototype || name === 'prototype';
}

/** What must not get any further: members that would shadow an object's own, nesting that would exhaust the stack, and U+0000, which databases and file names cannot hold. */
function dangerousMembers(value: unknown): FieldError[] {
  const found: FieldError[] = [];
  const pending = [{ value, path: '', depth: 0 }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (typeof next.value === 'string' && next.value.includes('\0'))
      found.push({ field: next.path.slice(0, 100), messages: ['must not hold U+0000'] });
    if (typeof next.value !== 'object' || next.value === null) continue;
    if (next.depth > MAX_DEPTH) return [{ field: next.path.slice(0, 100), messages: ['is nested too deep'] }];
    for (const [name, member] of Object.entries(next.value)) {
      const path = next.path === '' ? name : `${next.path}.${name}`;
      if (isInherent(name)) found.push({ field: path, messages: [UNKNOWN_FIELD] });
      else pending.push({ value: member, path, depth: next.depth + 1 });
    }
  }
  return found;
}

function fieldErrors(errors: readonly ValidationError[], parent = ''): FieldError[] {
  return errors.flatMap((error) => {
    const field = `${parent}${error.property.slice(0, 100)}`;
    const messages = Object.entries(error.constraints ?? {}).map(([rule, message]) =>
      rule === 'whitelistValidation' ? UNKNOWN_FIELD : message,
    );
    const own = messages.length > 0 ? [{ field, messages }] : [];
    return [...own, ...fieldErrors(error.children ?? [], `${field}.`)];
  });
}

function isDto(metatype: unknown): boolean {
  return (
    typeof metatype === 'function' && ![String, Number, Boolean, Array, Object, Buffer].includes(metatype as never)
  );
}

function isPlainObject(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    [Object.prototype, null].includes(Object.getPrototypeOf(value) as object)
  );
}
