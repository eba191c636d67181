import { appendFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

import {
  describeWith,
  type ProcessClock,
  processClock,
  pseudoRandomBytes,
  smallDisk,
  type TempDirectory,
} from '@azaion/testing';

import { type Person, startSystem, type StartedSystem } from './started-system.js';

const MIB = 1024 * 1024;
/** Of which the Loader leaves 64 MiB free as long as it can. */
const DISK_BYTES = 96 * MIB;
const SIZE_BYTES = 3_000_000;

describeWith(['disk', 'faketime'], 'a device whose disk is full, or whose clock is wrong', () => {
  let disk: TempDirectory;
  let clock: ProcessClock;
  let system: StartedSystem;
  let operator: Person;
  let publisher: string;
  const kept = pseudoRandomBytes('kept', SIZE_BYTES);

  beforeAll(async () => {
    disk = await smallDisk(DISK_BYTES);
    clock = await processClock();
    const loaderEnv = { LOADER_LOCAL_TRUST: 'session', LOADER_DATA_DIR: disk.path, ...clock.env };
    system = await startSystem({ linked: true, loaderEnv });
    operator = await system.createPerson('Operator');
    publisher = await system.login(await system.createPerson('ResourceUploader'));
    await system.requests.publish('kept.bin', kept, publisher);
    await expectWhole('kept.bin', kept);
  }, 180_000);
  afterAll(async () => {
    await system.stop();
    await clock.remove();
    await disk.remove();
  });

  const expectWhole = async (name: string, content: Buffer, token?: string): Promise<void> => {
    const loaded = await system.requests.load(name, token);
    expect(loaded.status).toBe(200);
    expect(Buffer.from(await loaded.arrayBuffer()).equals(content)).toBe(true);
  };
  const fill = async (): Promise<void> => {
    for (const pieceBytes of [MIB, 4096, 1]) {
      try {
        for (;;) await appendFile(join(disk.path, 'ballast'), Buffer.alloc(pieceBytes));
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' });
      }
    }
  };

  describe('with no byte left on its disk', () => {
    const wanted = pseudoRandomBytes('wanted', SIZE_BYTES);
    beforeAll(async () => {
      await system.requests.publish('wanted.bin', wanted, publisher);
      await fill();
    });

    const expectWhatIsHeld = async (): Promise<void> => {
      await expectWhole('kept.bin', kept);
      await expectWhole('kept.bin', kept, await system.login(operator));
      const refused = await system.requests.load('wanted.bin');
      expect([refused.status, await refused.json()]).toEqual([
        507,
        expect.objectContaining({ code: 'resource.no-space' }),
      ]);
    };

    it('goes on with what it holds, and says by a code why it takes nothing new', async () => {
      await expectWhatIsHeld();
    });

    it('starts again after a kill, and does the same', async () => {
      system.loader().kill('SIGKILL');
      await system.loader().ended;
      await system.restartLoader();
      await expectWhatIsHeld();
    });

    it('takes it once there is room, and keeps both for the time without a network', async () => {
      await rm(join(disk.path, 'ballast'));
      await expectWhole('wanted.bin', wanted);
      system.link?.sever();
      await expectWhole('wanted.bin', wanted);
      await expectWhole('kept.bin', kept);
      system.link?.mend();
    });
  });

  describe('whose clock jumps while it runs', () => {
    afterEach(async () => {
      await clock.jump(0);
      system.link?.mend();
    });

    it.each([400, -700, -7000])(
      'by %i days: serves the device and people, and takes what they publish',
      async (days) => {
        await clock.jump(days);
        const content = pseudoRandomBytes(`jumped ${days}`, SIZE_BYTES);
        await system.requests.publish(`jumped-${days}.bin`, content, publisher);
        await expectWhole(`jumped-${days}.bin`, content);
        await expectWhole(`jumped-${days}.bin`, content, await system.login(operator));
      },
    );

    it('does so when it starts 7000 days back, as without a battery', async () => {
      await clock.jump(-7000);
      await system.restartLoader();
      await expectWhole('kept.bin', kept);
      await expectWhole('kept.bin', kept, await system.login(operator));
    });

    it('opens its leases without a network as long as the time that the Admin API signed allows, and is not bricked by a jump', async () => {
      await expectWhole('kept.bin', kept);
      system.link?.sever();
      await clock.jump(-700);
      await expectWhole('kept.bin', kept);
      await clock.jump(400);
      expect((await system.requests.load('kept.bin')).status).toBe(502);
      await clock.jump(0);
      await expectWhole('kept.bin', kept);
    });
  });
});
