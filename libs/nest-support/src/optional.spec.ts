import { Type } from 'class-transformer';
import { ArrayMaxSize, IsArray, IsBoolean, IsInt, IsObject, IsString, ValidateNested } from 'class-validator';

import { Optional } from './optional.js';
import { validationPipe } from './validation.js';

class Inner {
  @Optional()
  @IsString()
  readonly text?: string;
}

class Body {
  @Optional()
  @IsString()
  readonly text?: string;

  @Optional()
  @IsInt()
  readonly number: number = 7;

  @Optional()
  @IsBoolean()
  readonly flag?: boolean;

  @Optional()
  @IsArray()
  @ArrayMaxSize(3)
  readonly list?: readonly string[];

  @Optional()
  @IsObject()
  @ValidateNested()
  @Type(() => Inner)
  readonly inner?: Inner;
}

describe('Optional', () => {
  const read = (value: object): Promise<unknown> =>
    validationPipe({ status: 400 }).transform(value, { type: 'body', metatype: Body });
  const fieldsRefused = async (value: object): Promise<unknown> =>
    read(value).then(
      () => [],
      (error: unknown) =>
        (error as { members: { errors: { field: string }[] } }).members.errors.map(({ field }) => field),
    );

  it('lets a member be left out, which keeps its default', async () => {
    expect(await read({})).toEqual({ number: 7 });
    expect(await read({ text: undefined })).toMatchObject({ number: 7 });
  });

  it('checks a member that is there', async () => {
    expect(await read({ text: '', flag: false, list: [], inner: {} })).toMatchObject({ text: '', flag: false });
    expect(await fieldsRefused({ text: 1, inner: { text: 1 } })).toEqual(['text', 'inner.text']);
  });

  it.each(['text', 'number', 'flag', 'list', 'inner'])('refuses null for "%s", by name', async (member) => {
    expect(await fieldsRefused({ [member]: null })).toEqual([member]);
  });

  it('refuses null in what is nested', async () => {
    expect(await fieldsRefused({ inner: { text: null } })).toEqual(['inner.text']);
  });
});
