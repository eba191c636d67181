import { join } from 'node:path';

import { runCommand } from '@azaion/testing';

import { documentOf } from '../deploy/documents.js';

/** A step of the pipeline that builds an image and pushes it, with what the server puts in for its secrets and variables. */
export interface ImageStep {
  readonly target: string;
  readonly dockerfile: string;
  /** Separated by commas. */
  readonly platforms: string;
  readonly registry: string;
  readonly repo: string;
  readonly username: string;
  readonly password: string;
  readonly build_args: readonly string[];
  readonly tags: readonly string[];
}

/** What the server of a pipeline knows. */
export interface PipelineServer {
  readonly secrets: Readonly<Record<string, string>>;
  readonly variables: Readonly<Record<string, string>>;
}

/**
 * The pipeline's steps that push an image, in their order.
 *
 * @throws Error for a secret that the server does not have.
 */
export async function imageStepsOf(workspace: string, server: PipelineServer): Promise<readonly ImageStep[]> {
  const { steps } = documentOf(join(workspace, '.woodpecker.yml')) as {
    readonly steps: Readonly<Record<string, { readonly settings?: unknown }>>;
  };
  const settings = Object.values(steps).flatMap((step) => step.settings ?? []);
  return Promise.all(settings.map(async (one) => (await filledIn(one, server)) as ImageStep));
}

/**
 * What the pipeline's plugin gives to `docker` for a step, by https://codeberg.org/woodpecker-plugins/docker-buildx, but for the network that an engine
 * without a bridge needs.
 *
 * @param context - The directory that is built from.
 * @param bases - Build arguments that say which images stand in for those of a registry.
 */
export function buildArguments(
  step: ImageStep,
  context: string,
  bases: Readonly<Record<string, string>>,
): readonly string[] {
  const values = [...step.build_args, ...Object.entries(bases).map(([name, image]) => `${name}=${image}`)];
  return [
    ...['buildx', 'build', '--network', 'host', '--push', '--pull', '--file', join(context, step.dockerfile)],
    ...['--target', step.target, '--platform', step.platforms],
    ...values.flatMap((value) => ['--build-arg', value]),
    ...step.tags.flatMap((tag) => ['--tag', `${step.repo}:${tag}`]),
    context,
  ];
}

async function filledIn(value: unknown, server: PipelineServer): Promise<unknown> {
  if (typeof value === 'string') return expanded(value, server.variables);
  if (Array.isArray(value)) return Promise.all(value.map((one) => filledIn(one, server)));
  if (typeof value !== 'object' || value === null) return value;
  if ('from_secret' in value) return secretNamed(String(value.from_secret), server);
  const entries = Object.entries(value).map(async ([key, one]) => [key, await filledIn(one, server)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

function secretNamed(name: string, { secrets }: PipelineServer): string {
  const secret = secrets[name];
  if (secret === undefined) throw new Error(`The server has no secret "${name}".`);
  return secret;
}

/** The server's notation is that of a shell. */
async function expanded(text: string, variables: PipelineServer['variables']): Promise<string> {
  const settings = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  return runCommand('env', ['--ignore-environment', ...settings, '/bin/bash', '-c', `printf %s "${text}"`]);
}
