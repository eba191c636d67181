import { chooseBinding, openDeviceIdentity } from '@azaion/adapters/device-identity';
import { SystemHardwareProbe } from '@azaion/adapters/hardware';
import { ApiClient, enrolDevice, HttpAuthApi } from '@azaion/adapters/resource-api';
import { keyThumbprint } from '@azaion/crypto';

import { type CommandContext, findService } from '../command-context.js';
import { loaderNetwork } from '../loader-network.js';
import { parseServiceUrl } from '../resource-reference.js';
import { readDeviceConf, thisDevice } from '../this-device.js';

/** Options of `azaion device enrol`. */
export interface EnrolOptions {
  readonly api?: string;
}

/** `azaion device enrol`: makes the keys of this machine and enrols it, as its Loader would at its first start. */
export async function enrolThisDevice(context: CommandContext, options: EnrolOptions): Promise<void> {
  const { confPath, identity: settings } = thisDevice(context.env);
  const conf = await readDeviceConf(confPath);
  const network = await loaderNetwork(context.env);
  const fromConf = context.env['RESOURCE_API_URL'] || conf.apiUrl;
  const url =
    options.api === undefined && fromConf !== undefined
      ? parseServiceUrl(fromConf, 'RESOURCE_API_URL', network.allowInsecure)
      : (await findService(context, 'api', options.api)).url;
  const { identity, reason, close } = await openDeviceIdentity(settings, (message) => context.output.note(message));
  const client = new ApiClient({ baseUrl: url, ...network });
  try {
    const { attested, whyNot } = await enrolDevice(new HttpAuthApi(client), identity, conf);
    const key = await keyThumbprint(await identity.signingKey());
    context.output.result(
      { serial: conf.serial, binding: identity.binding, reason, key, attested, whyNot: whyNot ?? null },
      [
        `${conf.serial} is enrolled at ${url}.`,
        `  ${reason}`,
        `  signing key: ${key}`,
        attested ? '  attested by its TPM' : `  not attested${whyNot === undefined ? '' : `: ${whyNot}`}`,
      ],
    );
  } finally {
    await client.close();
    await close();
  }
}

/** `azaion device status`: what this machine's keys are tied to, without making any. */
export async function thisDeviceStatus(context: CommandContext): Promise<void> {
  const { confPath, identity } = thisDevice(context.env);
  const { serial } = await readDeviceConf(confPath);
  const { binding, reason } = await chooseBinding(identity, new SystemHardwareProbe());
  context.output.result({ serial, binding, reason }, [`Device ${serial}`, `  binding: ${binding}`, `  ${reason}`]);
}
