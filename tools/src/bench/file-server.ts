import { createReadStream } from 'node:fs';
import { createServer } from 'node:http';

/** P9's peer: `node file-server.js PORT FILE` serves one file with the defaults of Node. */
const [port = '0', path = ''] = process.argv.slice(2);
createServer((_request, response) => createReadStream(path).pipe(response)).listen(Number(port), '127.0.0.1');
