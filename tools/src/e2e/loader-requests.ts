import type { Readable } from 'node:stream';
import { ReadableStream } from 'node:stream/web';

/**
 * A Loader's three flows as a service calls them, for suites that look at status, headers and bytes.
 * Without a token the Loader's own device asks.
 */
export interface LoaderRequests {
  /** F1. */
  login(person: { readonly email: string; readonly password: string }): Promise<Response>;
  /** F2. @param folder - Default `models`. */
  load(name: string, token?: string, folder?: string): Promise<Response>;
  /** F3 of the bytes themselves, not multipart. @param query - Default: into `models`. */
  upload(name: string, content: Uint8Array | Readable, token: string, query?: string): Promise<Response>;
  /** The same, which must succeed. @throws Error with the answer's text. */
  publish(name: string, content: Uint8Array | Readable, token: string, query?: string): Promise<void>;
}

/** @param url - Where the Loader listens. */
export function loaderRequests(url: string): LoaderRequests {
  const upload: LoaderRequests['upload'] = (name, content, token, query = 'folder=models') =>
    fetch(`${url}/upload/${name}?${query}`, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream', ...bearer(token) },
      body: content instanceof Uint8Array ? new Uint8Array(content) : ReadableStream.from(content),
      duplex: 'half',
    });
  return {
    login: (person) => post(`${url}/login`, person),
    load: (name, token, folder = 'models') =>
      post(`${url}/load/${encodeURIComponent(name)}`, { filename: name, folder }, token),
    upload,
    publish: async (...sent) => {
      const answer = await upload(...sent);
      if (answer.status !== 200) throw new Error(`publish ${sent[0]}: ${answer.status} ${await answer.text()}`);
      await answer.arrayBuffer();
    },
  };
}

/** Posts JSON. */
export function post(url: string, body: unknown, token?: string): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...bearer(token) },
    body: JSON.stringify(body),
  });
}

function bearer(token: string | undefined): Readonly<Record<string, string>> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}
