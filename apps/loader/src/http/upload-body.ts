import type { Readable } from 'node:stream';

import { isValidName } from '@azaion/kernel';
import {
  bodyStreamOf,
  invalidRequest,
  multipartContent,
  type MultipartPart,
  multipartParts,
} from '@azaion/nest-support';
import type { FastifyRequest } from 'fastify';

import { DEFAULT_FOLDER } from './names.dto.js';

const FILE_PARTS = ['data', 'file'];

/** A file on its way in. */
export interface UploadBody {
  readonly folder: string;
  /** The file's bytes. It fails, and so nothing is published, when the rest of the request is not as it must be. */
  readonly content: AsyncIterable<Buffer>;
}

/**
 * Reads the beginning of an upload, up to its file (F3).
 *
 * A multipart body has one file part `data` (or `file`) and, before it, a field `folder`. A field after the file is refused, because the
 * file would already be on its way into the default folder; the refusal comes before anything is committed.
 *
 * @param queryFolder - For `application/octet-stream` bodies.
 * @throws HttpProblem `request.invalid` (422) | `request.unsupported-media-type`.
 */
export async function readUploadBody(request: FastifyRequest, queryFolder: string | undefined): Promise<UploadBody> {
  if (!request.isMultipart()) return { folder: queryFolder ?? DEFAULT_FOLDER, content: bodyStreamOf(request) };
  const parts = multipartParts(request);
  let folder = queryFolder;
  for (let next = await parts.next(); next.done !== true; next = await parts.next()) {
    const part = next.value;
    if (part.type === 'file') {
      if (!FILE_PARTS.includes(part.fieldname)) {
        part.file.resume();
        throw invalidRequest(422, [{ field: safeName(part.fieldname), messages: ['is not known here'] }]);
      }
      return { folder: folder ?? DEFAULT_FOLDER, content: fileThenNothing(part.file, parts) };
    }
    if (part.fieldname !== 'folder')
      throw invalidRequest(422, [{ field: safeName(part.fieldname), messages: ['is not known here'] }]);
    if (!isValidName(part.value)) throw invalidRequest(422, [{ field: 'folder', messages: ['is not a valid name'] }]);
    if (folder !== undefined && folder !== part.value)
      throw invalidRequest(422, [{ field: 'folder', messages: ['must be given once'] }]);
    folder = part.value;
  }
  throw invalidRequest(422, [{ field: 'data', messages: ['is required: send the file as this part'] }]);
}

async function* fileThenNothing(file: Readable, parts: AsyncIterator<MultipartPart>): AsyncGenerator<Buffer> {
  yield* multipartContent(file);
  const next = await parts.next();
  if (next.done === true) return;
  if (next.value.type === 'file') next.value.file.resume();
  throw invalidRequest(422, [{ field: safeName(next.value.fieldname), messages: ['must come before the file'] }]);
}

function safeName(fieldname: string): string {
  return fieldname.slice(0, 100);
}
