import { basename } from 'node:path';

import { NAME_PATTERN, type ResourceName, resourceName } from '@azaion/kernel';

import { usageFailure } from './cli-failure.js';

/**
 * Reads `FOLDER/NAME` from the command line.
 *
 * @throws CliFailure exit `usage`; NameError `name.invalid`.
 */
export function parseResourceReference(text: string): ResourceName {
  const [folder, name, ...rest] = text.split('/');
  if (folder === undefined || name === undefined || rest.length > 0)
    throw usageFailure(
      `"${text}" does not name a resource.`,
      'Write folder and name with one slash, for example models/azaion.onnx.',
    );
  return resourceName(folder, name);
}

/** Reads the name of a folder. @throws CliFailure exit `usage`. */
export function parseFolder(text: string): string {
  if (!NAME_PATTERN.test(text))
    throw usageFailure(`"${text}" is not the name of a folder.`, 'Names have letters, digits, ".", "_" and "-".');
  return text;
}

/**
 * The name a file is published under when none is given: its own.
 *
 * @throws CliFailure exit `usage` when a file's own name cannot be one.
 */
export function nameForFile(path: string, folder: string, name: string | undefined): ResourceName {
  const own = basename(path);
  if (name === undefined && !NAME_PATTERN.test(own))
    throw usageFailure(
      `The file name "${own}" cannot be used as a resource name.`,
      'Give one with --name: letters, digits, ".", "_" and "-", at most 200.',
    );
  return resourceName(folder, name ?? own);
}

/** Reads a version number: 1, 2, 3 … @throws CliFailure exit `usage`. */
export function parseVersion(text: string): number {
  const version = Number(text);
  if (!/^[0-9]{1,10}$/.test(text) || version < 1 || version > 0xffff_ffff)
    throw usageFailure(`"${text}" is not a version.`, 'Versions are whole numbers from 1.');
  return version;
}

/**
 * Checks a service's base URL. Credentials go there, so plain HTTP is refused beyond this machine.
 *
 * @param allowInsecure - `ALLOW_INSECURE_API=true`: for closed test networks.
 * @returns The URL without a trailing slash.
 * @throws CliFailure exit `usage`.
 */
export function parseServiceUrl(text: string, option: string, allowInsecure: boolean): string {
  if (!URL.canParse(text)) throw usageFailure(`${option} is not a URL: "${text}".`, 'Write it in full: https://host.');
  const url = new URL(text);
  if (url.username !== '' || url.password !== '')
    throw usageFailure(`${option} must not hold credentials.`, 'Leave them out and run "azaion login".');
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw usageFailure(`${option} must start with https:// (or http:// on this machine).`);
  if (url.protocol === 'http:' && !isLoopback(url.hostname) && !allowInsecure)
    throw usageFailure(
      `${option} is plain HTTP to another machine: anyone on the way could read the password.`,
      'Use https://. In a closed test network, set ALLOW_INSECURE_API=true.',
    );
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.[0-9]{1,3}){3}$/.test(hostname);
}
