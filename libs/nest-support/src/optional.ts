import { ValidateIf } from 'class-validator';

/**
 * A member that may be left out. `null` does not leave it out: it is checked like any other value, and refused by name. class-validator's own
 * `IsOptional` lets `null` pass, past every other rule, into code that expects the type or nothing.
 */
export function Optional(): PropertyDecorator {
  return ValidateIf((_, value) => value !== undefined);
}
