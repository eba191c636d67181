#!/usr/bin/env node
// Imports nothing statically: the first static import of a newer syntax or built-in would end an older Node with a stack trace.
const REQUIRED_MAJOR = 24;
const REEXECUTED = 'AZAION_NODE_REEXECUTED';

/** Runs this program again with the Node that the workspace brings along. */
async function runWithWorkspaceNode(): Promise<void> {
  const { spawn } = await import('node:child_process');
  const { existsSync } = await import('node:fs');
  const { fileURLToPath } = await import('node:url');
  const node = fileURLToPath(new URL('../../../node_modules/node/bin/node', import.meta.url));
  if (process.env[REEXECUTED] !== undefined || !existsSync(node)) {
    process.stderr.write(
      `Node ${String(REQUIRED_MAJOR)} or newer is needed, this is ${process.versions.node}: install it, or run "npm install" in the workspace.\n`,
    );
    process.exitCode = 1;
    return;
  }
  const child = spawn(node, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, [REEXECUTED]: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`The workspace's Node could not be started: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => (process.exitCode = code ?? (signal === null ? 1 : 128)));
}

if (Number.parseInt(process.versions.node, 10) < REQUIRED_MAJOR) {
  await runWithWorkspaceNode();
} else {
  const { run } = await import('./bootstrap.js');
  await run();
}

export {};
