import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { type HttpProbe, Kubelet } from './kubelet.js';

describe('Kubelet', () => {
  const probe = (path: string): HttpProbe => ({
    httpGet: { path, port: 'http' },
    periodSeconds: 0.01,
    timeoutSeconds: 0.2,
    failureThreshold: 3,
  });
  const container = {
    ports: [],
    startupProbe: probe('/startup'),
    livenessProbe: probe('/live'),
    readinessProbe: probe('/ready'),
  };
  let server: Server;
  let port: number;
  let kubelet: Kubelet;
  /** Status by path; 0 answers nothing. */
  let statuses: Record<string, number>;
  let asked: { readonly path: string | undefined; readonly host: string | undefined }[];

  beforeEach(async () => {
    statuses = { '/startup': 200, '/live': 200, '/ready': 200 };
    asked = [];
    server = createServer((request, response) => {
      asked.push({ path: request.url, host: request.headers.host });
      const status = statuses[request.url ?? ''] ?? 404;
      if (status !== 0) response.writeHead(status).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ({ port } = server.address() as AddressInfo);
  });
  afterEach(async () => {
    await kubelet.stop();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const watch = (): Kubelet => (kubelet = new Kubelet(container, { host: '127.0.0.1', port }));

  it('asks for nothing but the start until that has succeeded, under the address of the pod', async () => {
    statuses['/startup'] = 503;
    watch();
    await kubelet.until(({ answers }) => answers.length === 2);
    expect([kubelet.started, kubelet.ready, kubelet.restarts]).toEqual([false, false, 0]);
    expect(new Set(asked.map(({ path }) => path))).toEqual(new Set(['/startup']));
    expect(asked[0]?.host).toBe(`127.0.0.1:${port}`);
    statuses['/startup'] = 200;
    await kubelet.until(({ ready }) => ready);
    expect(kubelet.started).toBe(true);
  });

  it.each(['/startup', '/live'])(
    'would start anew what fails at %s as often in a row as it may, and no earlier',
    async (path) => {
      statuses[path] = 500;
      watch();
      const name = path === '/live' ? 'liveness' : 'startup';
      await kubelet.until((one) => one.statusesOf(name).length === 2);
      expect(kubelet.restarts).toBe(0);
      await kubelet.until(({ restarts }) => restarts === 1);
      expect(kubelet.statusesOf(name)).toHaveLength(3);
    },
  );

  it('takes requests away after as many failures in a row, and starts nothing anew for them', async () => {
    watch();
    await kubelet.until(({ ready }) => ready);
    const before = kubelet.answers.length;
    statuses['/ready'] = 503;
    await kubelet.until(({ ready }) => !ready);
    expect(kubelet.statusesOf('readiness', before).filter((status) => status === 503)).toHaveLength(3);
    expect(kubelet.restarts).toBe(0);
  });

  it('counts no answer in time, and a redirect to nowhere as one', async () => {
    statuses['/live'] = 0;
    statuses['/ready'] = 302;
    watch();
    await kubelet.until(({ ready, restarts }) => ready && restarts > 0);
    expect(kubelet.statusesOf('liveness')).toContain(undefined);
  });
});
