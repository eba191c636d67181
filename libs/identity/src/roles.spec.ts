import { parseRole, ROLES, WORKING_ROLES } from './roles.js';

describe('parseRole', () => {
  it.each(Object.entries(ROLES))('reads %s by its name, and by its number as older clients send it', (name, id) => {
    expect([name, id, String(id)].map(parseRole)).toEqual([name, name, name]);
  });

  it.each([
    '',
    'operator',
    'Operator ',
    '010',
    '10.0',
    '1',
    1,
    10.5,
    -10,
    NaN,
    null,
    undefined,
    true,
    ['Operator'],
    {},
  ])('finds none in %p', (value) => {
    expect(parseRole(value)).toBeUndefined();
  });
});

describe('the roles that may use the system', () => {
  it('are all but None', () => {
    expect(['None', ...WORKING_ROLES]).toEqual(Object.keys(ROLES));
  });
});
