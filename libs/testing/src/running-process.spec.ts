import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { answersHttp, freePort, startProcess } from './index.js';

const node = (script: string): { command: string; args: string[] } => ({
  command: process.execPath,
  args: ['-e', script],
});

describe('startProcess', () => {
  it('waits for a line of output', async () => {
    const child = await startProcess({
      ...node('console.error("re" + "ady"); setInterval(() => {}, 1000)'),
      ready: /ready/,
    });
    expect(child.output()).toContain('ready');
    expect(await child.stop()).toEqual({ code: null, signal: 'SIGTERM' });
  });

  it('waits for an answer over HTTP', async () => {
    const port = await freePort();
    const server = `setTimeout(() => require("http").createServer((q, r) => r.end()).listen(${port}, "127.0.0.1"), 200)`;
    const child = await startProcess({ ...node(server), ready: answersHttp(`http://127.0.0.1:${port}/`) });
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(200);
    await child.stop();
  });

  it('tells the status and the output of a process that ends before it is ready', async () => {
    await expect(
      startProcess({ ...node('console.log("no such file"); process.exit(3)'), ready: /ready/ }),
    ).rejects.toThrow(/ended with status 3[^]*no such file/);
  });

  it('stops a process that is not ready in time', async () => {
    const started = startProcess({
      ...node('console.log("pid " + process.pid); setInterval(() => {}, 1000)'),
      ready: /never/,
      readyTimeoutMs: 500,
    });
    const message = await started.then(
      () => 'started',
      (error: unknown) => String(error),
    );
    expect(message).toContain('not ready after 500 ms');
    expect(existsSync(`/proc/${/pid (\d+)/.exec(message)?.[1] ?? 'unknown'}`)).toBe(false);
  });

  it('names a command that does not exist', async () => {
    await expect(startProcess({ command: 'no-such-command' })).rejects.toThrow('no-such-command could not be started');
  });

  it('kills what does not end on SIGTERM', async () => {
    const stubborn = await startProcess({
      ...node('process.on("SIGTERM", () => {}); console.log("ready"); setInterval(() => {}, 1000)'),
      ready: /ready/,
      stopTimeoutMs: 100,
    });
    expect(await stubborn.stop()).toEqual({ code: null, signal: 'SIGKILL' });
    expect(await stubborn.stop()).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('adds to the environment and takes away from it', async () => {
    const child = await startProcess({
      ...node('console.log(`[${process.env.ADDED}|${process.env.PATH}]`)'),
      env: { ADDED: 'yes', PATH: undefined },
    });
    await child.ended;
    expect(child.output()).toBe('[yes|undefined]\n');
  });

  it('counts the memory of children, now and at most', async () => {
    const held = 64 * 1024 * 1024;
    const grandchild = `globalThis.held = Buffer.alloc(${held}, 1); console.log("held"); setInterval(() => {}, 1000)`;
    const child = await startProcess({
      ...node(
        `require("child_process").spawn(process.execPath, ["-e", ${JSON.stringify(grandchild)}], { stdio: "inherit" })`,
      ),
      ready: /held/,
    });
    const { residentBytes, peakBytes } = await child.memory();
    expect(residentBytes).toBeGreaterThan(held);
    expect(peakBytes).toBeGreaterThanOrEqual(residentBytes);
    const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8');
    await child.stop();
    process.kill(Number(children.trim()));
    await expect(child.memory()).rejects.toThrow('is gone');
  });
});
