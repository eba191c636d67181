import { applyDecorators } from '@nestjs/common';
import { ApiParam } from '@nestjs/swagger';

/** Documents the path parameter `folder`. Its handler checks the name: what is wrong is 422 by the contract, not 400. */
export function FolderPath(): MethodDecorator {
  return ApiParam({ name: 'folder', example: 'models' });
}

/** Documents the path parameters `folder` and `name`, as {@link FolderPath}. */
export function ResourcePath(): MethodDecorator {
  return applyDecorators(FolderPath(), ApiParam({ name: 'name', example: 'ocr-recognition.onnx' }));
}
