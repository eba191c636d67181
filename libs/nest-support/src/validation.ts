import { type ArgumentMetadata, Injectable, type PipeTransform, ValidationPipe } from '@nestjs/common';
import { type ValidationError } from 'class-validator';

import { HttpProblem } from './problem.js';

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
    if (metadata.type === 'body' && isDto(metadata.metatype) && !isPlainObject(value))
      throw invalidRequest(this.status, [{ field: 'body', messages: ['must be a JSON object'] }]);
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

function fieldErrors(errors: readonly ValidationError[], parent = ''): FieldError[] {
  return errors.flatMap((error) => {
    const field = `${parent}${error.property.slice(0, 100)}`;
    const messages = Object.entries(error.constraints ?? {}).map(([rule, message]) =>
      rule === 'whitelistValidation' ? 'is not known here' : message,
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
