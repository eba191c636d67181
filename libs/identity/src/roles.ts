/** Roles and their numbers. The numbers identify, they do not order: every rule names its roles. Source: admin HTTP contract. */
export const ROLES = {
  None: 0,
  Operator: 10,
  Validator: 20,
  CompanionPC: 30,
  Admin: 40,
  ResourceUploader: 50,
  Service: 60,
  ApiAdmin: 1000,
} as const;

/** Name of a role. */
export type Role = keyof typeof ROLES;

/** Every role that may use the system at all. */
export const WORKING_ROLES = [
  'Operator',
  'Validator',
  'CompanionPC',
  'Admin',
  'ResourceUploader',
  'Service',
  'ApiAdmin',
] as const satisfies readonly Role[];

/** Reads a role from its name or its number, as older clients send it. */
export function parseRole(value: unknown): Role | undefined {
  const roles = Object.entries(ROLES) as [Role, number][];
  return roles.find(([name, id]) => value === name || value === id || value === String(id))?.[0];
}
