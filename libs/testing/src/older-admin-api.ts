import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An account of the older server. */
export interface OlderAccount {
  readonly email: string;
  readonly password: string;
  readonly role: string;
  /** Of the machine to which the account is bound: it gets nothing without, and its key has the machine in it. */
  readonly fingerprint?: string;
}

/**
 * An Admin API of the older kind, as far as a Loader speaks to it: log in, small parts, `cdn.yaml`, key fragments. Written from
 * docs/formats/legacy.md alone, with Node's own cipher, so that it checks what the product makes of that page.
 */
export class OlderAdminApi {
  /** By path, `folder/file`; `cdn.yaml` has no folder. Plaintext as the server keeps it. */
  readonly files = new Map<string, Buffer>();
  /** Method and path of every request, in order. */
  readonly requests: string[] = [];
  keyFragment = Buffer.from('test-key-fragment');
  /** How often somebody logged in. */
  logins = 0;
  private readonly tokens = new Map<string, OlderAccount>();
  private readonly server: Server;

  constructor(private readonly accounts: readonly OlderAccount[]) {
    this.server = createServer((request, response) => {
      this.answer(request, response).catch(() => response.writeHead(500).end());
    });
  }

  /** Listens on loopback. @returns Its base URL. */
  async start(): Promise<string> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  /** From here on no token is accepted that was given out before. */
  expireTokens(): void {
    this.tokens.clear();
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
    const body = Buffer.concat(parts);
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    this.requests.push(`${request.method ?? ''} ${path}`);
    const send = (status: number, content: Buffer | string = ''): void => {
      response.writeHead(status).end(content);
    };
    if (path === '/login') {
      const { email, password } = JSON.parse(body.toString()) as { email: string; password: string };
      const account = this.accounts.find((one) => one.email === email && one.password === password);
      if (account === undefined) send(409, JSON.stringify({ ErrorCode: 30, Message: 'wrong' }));
      else send(200, JSON.stringify({ token: this.tokenFor(account) }));
      return;
    }
    const account = this.tokens.get((request.headers.authorization ?? '').replace('Bearer ', ''));
    if (account === undefined) {
      send(401);
      return;
    }
    const [, area, action, folder] = path.split('/');
    if (path === '/binary-split/key-fragment') send(200, this.keyFragment);
    else if (area === 'resources' && action === 'get') this.sendFile(account, folder, body, send);
    else if (area === 'resources' && action === 'list')
      send(
        200,
        JSON.stringify(
          [...this.files.keys()].flatMap((key) => (key.startsWith(`${folder ?? ''}/`) ? [key.split('/')[1]] : [])),
        ),
      );
    else if (area === 'resources' && request.method === 'POST' && action !== undefined)
      this.takeFile(action, body, request.headers['content-type'] ?? '', send);
    else send(404);
  }

  private tokenFor(account: OlderAccount): string {
    this.logins += 1;
    const claims = { unique_name: account.email, role: account.role };
    const encoded = [{ alg: 'HS256', typ: 'JWT' }, claims].map((part) =>
      Buffer.from(JSON.stringify(part)).toString('base64url'),
    );
    // Whether it verifies is the server's own business: nobody else has its secret.
    const token = [...encoded, randomBytes(32).toString('base64url')].join('.');
    this.tokens.set(token, account);
    return token;
  }

  private sendFile(
    account: OlderAccount,
    folder: string | undefined,
    body: Buffer,
    send: (status: number, content?: Buffer) => void,
  ): void {
    const asked = JSON.parse(body.toString()) as { password?: string; fileName?: string; hardware?: string };
    if (account.fingerprint !== undefined && asked.hardware !== account.fingerprint) {
      send(409, Buffer.from(JSON.stringify({ ErrorCode: 40, Message: 'another machine' })));
      return;
    }
    const file = this.files.get(folder === undefined ? (asked.fileName ?? '') : `${folder}/${asked.fileName ?? ''}`);
    if (file === undefined) {
      send(404);
      return;
    }
    // The key is made of what was sent: with a wrong password the answer opens for nobody.
    const bound = account.fingerprint === undefined ? '' : `${calcHash(`Azaion_${account.fingerprint}_%$$$)0_`)}-`;
    const text = `${account.email}-${asked.password ?? ''}-${bound}#%@AzaionKey@%#---`;
    const key = createHash('sha256').update(calcHash(text)).digest();
    const iv = randomBytes(16);
    const cipher = createCipheriv('aes-256-cbc', key, iv);
    send(200, Buffer.concat([iv, cipher.update(file), cipher.final()]));
  }

  /** One part `data` of a multipart body. */
  private takeFile(folder: string, body: Buffer, type: string, send: (status: number) => void): void {
    const boundary = /boundary=(\S+)/.exec(type)?.[1] ?? '';
    const head = body.indexOf('\r\n\r\n');
    const name = /name="data"; filename="([^"]+)"/.exec(body.subarray(0, head).toString())?.[1];
    const end = body.lastIndexOf(`\r\n--${boundary}`);
    if (boundary === '' || head < 0 || name === undefined || end < head) {
      send(400);
      return;
    }
    this.files.set(`${folder}/${name}`, body.subarray(head + 4, end));
    send(200);
  }
}

function calcHash(text: string): string {
  return createHash('sha384').update(text).digest('base64');
}
