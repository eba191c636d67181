import { join } from 'node:path';

import { COMPOSES, describeWith, runCommand } from '@azaion/testing';

import { settingNames } from '../docs/workspace-configuration.js';
import { WORKSPACE } from '../started-service.js';
import { documentsIn } from './documents.js';

interface Service {
  readonly image: string;
  readonly user?: string;
  readonly privileged?: boolean;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly ports?: readonly string[];
  readonly devices?: readonly string[];
  readonly volumes?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** Of a port, a device or a volume. */
interface LongForm {
  readonly host_ip?: string;
  readonly published?: string;
  readonly source?: string;
  readonly target: number | string;
  readonly read_only?: boolean;
}

interface Composition {
  readonly services: Readonly<Record<string, Service>>;
  readonly secrets?: Readonly<Record<string, { readonly file: string }>>;
  readonly volumes: Readonly<Record<string, { readonly name?: string } | null>>;
}

const DEVICE = { LOADER_IMAGE: 'registry.example.com/azaion/loader:main', DOCKER_GROUP_ID: '998', TSS_GROUP_ID: '115' };

describe.each(COMPOSES)('With %s', (command, component) => {
  const known = new Map<string, Promise<Composition>>();

  /** What compose makes of a file, once for each: checked by its schema, with every variable put in. @throws Error with what compose says. */
  function resolved(name: string, env: Readonly<Record<string, string>> = {}): Promise<Composition> {
    const key = JSON.stringify([name, env]);
    const answer = known.get(key) ?? resolve(name, env);
    known.set(key, answer);
    return answer;
  }

  async function resolve(name: string, env: Readonly<Record<string, string>>): Promise<Composition> {
    const variables = Object.entries(env).map(([key, value]) => `${key}=${value}`);
    const environment = ['--ignore-environment', `PATH=${process.env['PATH'] ?? ''}`, ...variables];
    const config = [...command.split(' '), '--file', join(WORKSPACE, 'deploy', 'compose', `${name}.yaml`), 'config'];
    // Warnings are failures, too.
    const script = 'exec 3>&1; problems=$("$@" 2>&1 >&3) && [ -z "$problems" ] || { echo "$problems" >&2; exit 1; }';
    const [composition] = documentsIn(
      await runCommand('env', [...environment, 'sh', '-c', script, 'sh', ...config]),
    ) as [Composition];
    const services = Object.entries(composition.services).map(([service, found]) => [service, inShort(found)]);
    return { ...composition, services: Object.fromEntries(services) as Composition['services'] };
  }

  describeWith(component, 'the compose files', () => {
    const own = ({ services }: Composition): Service[] =>
      Object.entries(services).flatMap(([name, service]) => (name === 'postgres' ? [] : [service]));

    it.each([
      ['developer', {}],
      ['device', DEVICE],
    ] as const)('for a %s confines the services, and gives out no port beyond the machine', async (name, env) => {
      const composition = await resolved(name, env);
      expect(own(composition).length).toBeGreaterThan(0);
      for (const service of own(composition)) {
        expect(service).toMatchObject({
          read_only: true,
          cap_drop: ['ALL'],
          security_opt: ['no-new-privileges:true'],
        });
        expect(service.privileged ?? false).toBe(false);
      }
      for (const port of Object.values(composition.services).flatMap(({ ports = [] }) => ports))
        expect(port).toMatch(/^127\.0\.0\.1:/);
    });

    it.each([
      ['developer', {}],
      ['device', DEVICE],
    ] as const)('for a %s sets only what the services know', async (name, env) => {
      const settings = settingNames(WORKSPACE);
      for (const { environment = {} } of own(await resolved(name, env)))
        for (const setting of Object.keys(environment)) expect(settings).toContain(setting);
    });

    it('for a developer has both services and a database, and needs nothing to be set', async () => {
      expect(Object.keys((await resolved('developer')).services).sort()).toEqual(['admin-api', 'loader', 'postgres']);
    });

    it('for a device has the TPM that others share, the engine’s socket, lasting data, and secrets as files', async () => {
      const { services, secrets, volumes } = await resolved('device', DEVICE);
      const loader = services['loader'];
      expect(loader?.devices).toEqual(['/dev/tpmrm0:/dev/tpmrm0']);
      expect(loader?.volumes).toEqual(
        expect.arrayContaining(['data:/data', '/var/run/docker.sock:/var/run/docker.sock']),
      );
      expect(volumes['data']).toEqual({ name: 'azaion-loader' });
      expect(secrets).toMatchObject({ 'device.conf': { file: '/etc/azaion/device.conf' } });
      expect(JSON.stringify(loader?.environment)).not.toMatch(/password|secret_key|token/i);
      expect(loader?.environment).toMatchObject({ UNLOCK_RUNTIME: 'engine' });
    });

    it('for a device mounts the directory above that of the flight gate, which the host may make anew', async () => {
      const { environment, volumes = [] } = (await resolved('device', DEVICE)).services['loader']!;
      expect(environment?.['FLIGHT_GATE_FILE']).toBe('/host/run/azaion/in-flight');
      expect(volumes).toContain('/run:/host/run:ro');
      expect(JSON.stringify(volumes)).not.toContain('/run/azaion');
    });

    it.each(Object.keys(DEVICE))('for a device says what %s is when it is not set', async (name) => {
      const others = Object.entries(DEVICE).filter(([other]) => other !== name);
      await expect(resolved('device', Object.fromEntries(others))).rejects.toThrow(name);
    });
  });
});

/** What a service mounts and gives out as the files have it, where compose 2 writes the long form. */
function inShort(service: Service): Service {
  const {
    ports = [],
    devices = [],
    volumes = [],
  } = service as { readonly [list in 'devices' | 'ports' | 'volumes']?: readonly (LongForm | string)[] };
  const short = (one: LongForm | string): string =>
    typeof one === 'string'
      ? one.replace(/(?:\/tcp|:rw)$/, '')
      : [one.host_ip, one.published, one.source, String(one.target), one.read_only && 'ro'].filter(Boolean).join(':');
  return { ...service, ports: ports.map(short), devices: devices.map(short), volumes: volumes.map(short) };
}
