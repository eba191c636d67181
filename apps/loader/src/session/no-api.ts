import { GrantApi, ResourceError } from '@azaion/split-resource';

/** For who may use what is on this device, and ask the Admin API for nothing. */
export class NoGrantApi extends GrantApi {
  override grant(): Promise<never> {
    return refused();
  }

  override segment(): Promise<never> {
    return refused();
  }

  override packUrls(): Promise<never> {
    return refused();
  }
}

function refused(): Promise<never> {
  return Promise.reject(
    new ResourceError(
      'api.unreachable',
      'A part of this resource is not on the device, and this login is good for what is: log in again once the Admin API can be reached.',
    ),
  );
}
