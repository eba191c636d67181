import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describeWith, runCommand, tempDirectory } from '@azaion/testing';

import { settingNames } from '../docs/workspace-configuration.js';
import { WORKSPACE } from '../started-service.js';

const UNIT = join(WORKSPACE, 'deploy', 'systemd', 'azaion-loader.service');
/** On systemd's scale from 0, nothing is permitted, to 100; what it calls "OK" ends at 50. */
const MOST_EXPOSED = 25;

describeWith('systemd', 'The unit of the Loader', () => {
  it('is understood by systemd without a warning', async () => {
    const root = await tempDirectory('azaion-unit');
    // A root file system of its own: nothing of this machine's decides.
    for (const directory of ['usr/bin', 'etc/systemd/system', 'opt/azaion/loader/dist'])
      await mkdir(join(root.path, directory), { recursive: true });
    await writeFile(join(root.path, 'usr/bin/node'), '#!/bin/sh\n', { mode: 0o755 });
    for (const target of ['sysinit', 'basic', 'shutdown', 'network-online', 'multi-user'])
      await writeFile(join(root.path, 'etc/systemd/system', `${target}.target`), '[Unit]\n');
    const unit = readFileSync(UNIT, 'utf8');
    const verify = async (text: string): Promise<string> => {
      await writeFile(join(root.path, 'etc/systemd/system/azaion-loader.service'), text);
      const command =
        'systemd-analyze verify --man=no --recursive-errors=one --root="$1" azaion-loader.service 2>&1; true';
      const output = await runCommand('sh', ['-c', command, 'sh', root.path]);
      return output
        .split('\n')
        .filter((line) => line.includes('azaion-loader.service'))
        .join('\n');
    };
    expect(await verify(unit)).toBe('');
    expect(await verify(unit.replace('ProtectHome=', 'ProtectHom='))).toMatch(/Unknown key.*'ProtectHom'/);
    await root.remove();
  });

  it(`exposes at most ${MOST_EXPOSED} of 100`, async () => {
    const analyse = ['security', '--no-pager', '--offline=yes', `--threshold=${MOST_EXPOSED}`, UNIT];
    expect(await runCommand('systemd-analyze', analyse)).toContain('Overall exposure level');
  });

  it('loads images into an engine or not at all', () => {
    expect(readFileSync(UNIT, 'utf8')).toMatch(/^Environment=UNLOCK_RUNTIME=engine$/m);
  });

  it('sets only what the Loader knows', () => {
    const known = settingNames(WORKSPACE);
    const names = [...readFileSync(UNIT, 'utf8').matchAll(/^Environment=(\w+)=/gm)].map(([, name]) => name);
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) expect(known).toContain(name);
  });
});
