import { parseRole } from '@azaion/identity';
import { ValidateBy, type ValidationOptions } from 'class-validator';

/** The name or number of a role. */
export function IsRole(options?: ValidationOptions): PropertyDecorator {
  return ValidateBy(
    {
      name: 'isRole',
      validator: {
        validate: (value: unknown) => parseRole(value) !== undefined,
        defaultMessage: () => '$property must be the name or number of a role',
      },
    },
    options,
  );
}
