import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

import { ProfileFile } from '../profile.js';

const SESSION_SECONDS = 900;

/** An Admin API of a test's own at which somebody is logged in. */
export interface LoggedInApi {
  readonly url: string;
  stop(): Promise<void>;
}

/**
 * Starts a server on loopback, and writes a profile with a session at it.
 *
 * @param profilePath - The profile; what it holds already stays.
 * @param accessToken - Of the session.
 */
export async function startLoggedInApi(
  profilePath: string,
  listener: RequestListener,
  accessToken = 'a-token',
): Promise<LoggedInApi> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const expiresAt = Math.floor(Date.now() / 1000) + SESSION_SECONDS;
  await new ProfileFile(profilePath).update((before) => ({
    ...before,
    api: url,
    sessions: [{ issuedBy: { kind: 'api', url }, accessToken, expiresAt }],
  }));
  return {
    url,
    stop: async () => {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  };
}
