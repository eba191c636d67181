import type { ResourceName } from '@azaion/kernel';

import { usageFailure } from './cli-failure.js';
import { parseResourceReference, parseVersion } from './resource-reference.js';

/** A resource in the version that is wanted. */
export interface WantedVersion extends ResourceName {
  readonly version: number | 'latest';
}

/**
 * Reads `FOLDER/NAME`, `FOLDER/NAME@3` or `FOLDER/NAME@latest`.
 *
 * @throws CliFailure exit `usage`; NameError `name.invalid`.
 */
export function parseWantedVersion(text: string): WantedVersion {
  const at = text.indexOf('@');
  const [path, version] = at < 0 ? [text, 'latest'] : [text.slice(0, at), text.slice(at + 1)];
  return { ...parseResourceReference(path), version: version === 'latest' ? 'latest' : parseVersion(version) };
}

/** Reads `FOLDER/NAME@3`, where nothing but a certain version will do. @throws as {@link parseWantedVersion}. */
export function parseCertainVersion(text: string): ResourceName & { readonly version: number } {
  const { version, ...resource } = parseWantedVersion(text);
  if (version === 'latest')
    throw usageFailure(
      `"${text}" does not say which version.`,
      `Add its number, for example ${text.replace(/@.*/, '')}@3.`,
    );
  return { ...resource, version };
}

/** `FOLDER/NAME@3`, as {@link parseWantedVersion} reads it. */
export function wantedVersionText({ folder, name, version }: WantedVersion): string {
  return `${folder}/${name}@${String(version)}`;
}

/** What an answer of the Admin API says is wanted; what has another form is left out. */
export function wantedVersions(value: unknown): WantedVersion[] {
  return (Array.isArray(value) ? (value as unknown[]) : []).flatMap((each) => {
    if (typeof each !== 'object' || each === null) return [];
    const { folder, name, version } = each as Record<string, unknown>;
    if (typeof folder !== 'string' || typeof name !== 'string') return [];
    return typeof version === 'number' || version === 'latest' ? [{ folder, name, version }] : [];
  });
}
