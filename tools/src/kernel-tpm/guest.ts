import { execFile, execFileSync } from 'node:child_process';
import { chmod, open } from 'node:fs/promises';
import { promisify } from 'node:util';

import { TpmDeviceIdentity, probeTpm } from '@azaion/adapters/tpm';
import { generateP256KeyPair, hpkeOpen, hpkeSeal, verifyRaw } from '@azaion/crypto';
import { makeCredential, parseTpmPublic } from '@azaion/identity';
import { utf8 } from '@azaion/kernel';

const MANAGED = 'device:/dev/tpmrm0';
const BARE = 'device:/dev/tpm0';
const TIMEOUT_MS = 60_000;
/** An emulated processor takes a second for each. */
const OPERATIONS = 12;
const PROCESSES = 3;
const NOBODY = 65_534;
const run = promisify(execFile);

/** What a virtual machine does with the kernel's own TPM devices; it prints a line for each thing that holds, and "all holds" at the end. */
async function main(): Promise<void> {
  const [, script = '', role, directory = '/data/worker'] = process.argv;
  if (role === 'worker') {
    await signMany(directory);
    return;
  }
  if (role === 'nobody') {
    say(await outcomeOf(probe(MANAGED)));
    return;
  }

  const identity = await openIn('/data/first', MANAGED);
  const message = utf8('signed through the resource manager');
  hold('signs', verifyRaw(await identity.signingKey(), message, await identity.sign(message)));

  const point = await identity.agreementPoint();
  const sealed = await hpkeSeal(utf8('a recipe key'), point, utf8('grant'));
  const opened = await hpkeOpen(sealed, point, identity.ecdh, utf8('grant'));
  hold('opens what HPKE has sealed', Buffer.from(opened).toString() === 'a recipe key');

  const enrolment = {
    serial: 'azj-0001',
    nonce: new Uint8Array(32).fill(7),
    signingKey: await identity.signingKey(),
    agreementKey: point,
  };
  const { endorsementKey, attestationKey } = await identity.evidenceFor(enrolment);
  const secret = new Uint8Array(32).fill(9);
  const credential = await makeCredential(parseTpmPublic(endorsementKey), parseTpmPublic(attestationKey).name, secret);
  hold('makes evidence and opens its credential', Buffer.from(secret).equals(await identity.activate(credential)));

  const off = Uint8Array.from(point).fill(1, 1);
  for (let done = 0; done < OPERATIONS; done += 3) {
    const outcomes = await Promise.allSettled([identity.sign(message), identity.ecdh(point), identity.ecdh(off)]);
    if (outcomes.map(({ status }) => status).join() !== 'fulfilled,fulfilled,rejected') throw new Error('outcomes');
  }
  hold(`does ${OPERATIONS} operations with failures among them, and leaves nothing in the TPM`, left() === '');

  const workers = Array.from({ length: PROCESSES }, (_, at) =>
    run(process.execPath, [script, 'worker', `/data/worker-${at}`]),
  );
  await Promise.all(workers);
  hold(`works in ${PROCESSES} processes at once, each with keys of its own`, left() === '');

  const holder = await open('/dev/tpm0', 'r+');
  hold(
    'says that another program holds a device without a manager',
    (await outcomeOf(probe(BARE))) === 'device.tpm-busy',
  );
  hold('works through the manager meanwhile', (await outcomeOf(probe(MANAGED))) === 'usable');
  await holder.close();

  await chmod('/dev/tpmrm0', 0o600);
  const { stdout } = await run(process.execPath, [script, 'nobody'], { uid: NOBODY, gid: NOBODY });
  hold('says that a user may not open the device', stdout.trim() === 'device.tpm-absent');

  execFileSync('tpm2', ['pcrextend', `7:sha256=${'ab'.repeat(32)}`], {
    env: { ...process.env, TPM2TOOLS_TCTI: MANAGED },
  });
  hold('uses no key in another boot state', (await outcomeOf(identity.sign(message))) === 'device.tpm-policy');
  await identity.close();
  hold('leaves nothing in the TPM at its end', left() === '');
  say('all holds');
}

function openIn(directory: string, tcti: string): Promise<TpmDeviceIdentity> {
  return TpmDeviceIdentity.open({
    tcti,
    timeoutMs: TIMEOUT_MS,
    directory,
    pcrs: [0, 2, 4, 7],
    fleet: undefined,
    log: say,
  });
}

async function signMany(directory: string): Promise<void> {
  const identity = await openIn(directory, MANAGED);
  const { point } = await generateP256KeyPair();
  for (let done = 0; done < 2; done += 1) {
    const message = utf8(String(done));
    if (!verifyRaw(await identity.signingKey(), message, await identity.sign(message))) throw new Error('signature');
    await identity.ecdh(point);
  }
  await identity.close();
}

function probe(tcti: string): ReturnType<typeof probeTpm> {
  return probeTpm({ tcti, timeoutMs: TIMEOUT_MS });
}

/** A code of an error that was thrown or returned; else that all went well. */
async function outcomeOf(work: Promise<unknown>): Promise<string> {
  const result: unknown = await work.catch((error: unknown) => error);
  return result instanceof Error ? (result as Error & { code: string }).code : 'usable';
}

/** What is in the TPM itself, seen past the manager: objects, sessions that are loaded, sessions that are saved. */
function left(): string {
  const env = { ...process.env, TPM2TOOLS_TCTI: BARE };
  const lists = ['handles-transient', 'handles-loaded-session', 'handles-saved-session'];
  return lists.map((list) => execFileSync('tpm2', ['getcap', list], { env }).toString().trim()).join('');
}

function hold(what: string, does: boolean): void {
  if (!does) throw new Error(`does not hold: ${what}`);
  say(`holds: ${what}`);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

await main();
