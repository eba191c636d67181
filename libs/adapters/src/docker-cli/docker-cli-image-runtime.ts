import type { Writable } from 'node:stream';

import { releaseBytes } from '@azaion/kernel';
import { abortable, type EngineImage, type ImageAssignment, ImageRuntime, UnlockError } from '@azaion/unlock';

import { chainIdsOf } from '../image-archive/index.js';
import { withArchiveCopy } from './archive-copy.js';
import { type CliResult, ContainerCli, type ContainerCliOptions } from './container-cli.js';
import { engineError } from './engine-error.js';
import { type EngineNature, engineNatureOf } from './engine-nature.js';
import { type EngineSocket, engineSocketPath, imageIdAt, reachedEngine, startSocketLoad } from './engine-socket.js';

const LOADED = /^Loaded image(?:\(s\)| ID)?: (.+)$/gm;
/** Docker with containerd's store names the image as loaded, then says this, and ends well. */
const UNPACKING_FAILED = /^Error unpacking image/m;
const NO_SUCH_IMAGE = /no such (?:image|object)|image not known|unable to find/i;
const IMAGE_ID = /^(?:sha256:)?([0-9a-f]{64})$/;
/** The storage of docker's own image store. */
const GRAPH_DRIVER = /^(?:overlay2|fuse-overlayfs|btrfs|zfs|vfs) /;
/** Images asked about with one command: their layers fit into what is kept of its output. */
const IMAGES_AT_ONCE = 5;
/** A reference never looks like an option. */
const REFERENCE = /^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}$/;

/** Container engines that are driven through a CLI with docker's arguments: docker, podman, nerdctl. Tried with docker 20.10 and podman 4.3. */
export class DockerCliImageRuntime extends ImageRuntime {
  private readonly cli: ContainerCli;
  private nature: EngineNature | undefined;
  /** Once it is known; empty where there is none. */
  private socketPath: string | undefined;

  /**
   * @param memoryRoots - Directories in memory for the copy of the archive that podman makes while it loads; nothing in them outlives a load.
   *   Default: where systems have one.
   */
  constructor(
    options: ContainerCliOptions,
    private readonly memoryRoots?: readonly string[],
  ) {
    super();
    this.cli = new ContainerCli(options);
  }

  override async present(references: readonly string[], signal: AbortSignal): Promise<readonly EngineImage[]> {
    const imageIds =
      (await this.idsBySocket(references, signal)) ??
      (await this.idsAtOnce(references, signal)) ??
      (await this.idsOneByOne(references, signal));
    return references.flatMap((reference, at) => {
      const imageId = imageIds[at];
      return imageId === undefined ? [] : [{ reference, imageId }];
    });
  }

  override async load(archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<readonly EngineImage[]> {
    signal.throwIfAborted();
    const engine = await this.reachedSocket(signal);
    const { copy } = (this.nature ??= await engineNatureOf(this.cli, signal));
    const result = await withArchiveCopy(copy, this.memoryRoots, (env) => this.feed(archive, signal, engine, env));
    signal.throwIfAborted();
    const loaded = [...result.stdout.matchAll(LOADED)].flatMap((match) => (match[1] ?? '').split(','));
    // docker ends with status 0 although the engine reported an error inside its answer: without a loaded image there was no success.
    if (result.exitCode !== 0 || loaded.length === 0) throw engineError(this.cli.command, result);
    if (UNPACKING_FAILED.test(result.stdout)) throw engineError(this.cli.command, { ...result, stderr: result.stdout });
    const references = loaded.map((text) => text.trim());
    const images = await this.present(references, signal);
    if (images.length < references.length)
      throw new UnlockError('unlock.engine-failed', 'The container engine lost an image that it had just loaded.');
    return images;
  }

  override async assign(assignments: readonly ImageAssignment[], signal: AbortSignal): Promise<void> {
    const references = assignments.map(({ reference }) => reference);
    const present = await this.present(references, signal);
    const gone: string[] = [];
    for (const { reference, imageId } of assignments) {
      const before = present.find((image) => image.reference === reference)?.imageId;
      if (before === undefined ? imageId === null : before === imageId) continue;
      if (imageId === null) gone.push(checked(reference));
      else await this.mutate(['image', 'tag', checkedId(imageId), checked(reference)], signal);
      if (imageId !== null && before !== undefined) await this.removeUnnamed(before, signal);
    }
    if (gone.length > 0) await this.mutate(['image', 'rm', '--force', ...gone], signal);
  }

  override async layers(signal: AbortSignal): Promise<ReadonlySet<string> | undefined> {
    if (!(await this.takesPartialArchives(signal))) return undefined;
    const listed = await this.cli.run(['image', 'ls', '--all', '--quiet', '--no-trunc'], signal);
    if (listed.exitCode !== 0) throw engineError(this.cli.command, listed);
    const ids = [...new Set(listed.stdout.split('\n'))].filter((id) => IMAGE_ID.test(id));
    const chainIds = new Set<string>();
    for (let at = 0; at < ids.length; at += IMAGES_AT_ONCE) {
      const some = ids.slice(at, at + IMAGES_AT_ONCE);
      const { stdout } = await this.cli.run(
        ['image', 'inspect', '--format', '{{json .RootFS.Layers}}', ...some],
        signal,
      );
      // An image that has gone meanwhile is reported as an error beside the others.
      for (const line of stdout.split('\n')) for (const chainId of chainIdsOf(diffIdsIn(line))) chainIds.add(chainId);
    }
    return chainIds;
  }

  /** Docker with its own image store looks at a layer's file only when it does not have the layer. With containerd's store it needs all of them, and so does podman. */
  private async takesPartialArchives(signal: AbortSignal): Promise<boolean> {
    const { exitCode, stdout } = await this.cli.run(['info', '--format', '{{.Driver}} {{json .DriverStatus}}'], signal);
    return exitCode === 0 && GRAPH_DRIVER.test(stdout) && !stdout.includes('io.containerd.snapshotter');
  }

  /** An image without a name and without a container is of no use to anybody; one with another name would lose it. */
  private async removeUnnamed(imageId: string, signal: AbortSignal): Promise<void> {
    const named = await this.cli.run(['image', 'inspect', '--format', '{{len .RepoTags}}', imageId], signal);
    if (named.exitCode === 0 && named.stdout.trim() === '0') await this.cli.run(['image', 'rm', imageId], signal);
  }

  private async mutate(args: readonly string[], signal: AbortSignal): Promise<void> {
    const result = await this.cli.run(args, signal);
    if (result.exitCode !== 0 && !NO_SUCH_IMAGE.test(result.stderr)) throw engineError(this.cli.command, result);
  }

  /** @returns `undefined` where the CLI has to be asked, or has words for what is wrong. */
  private async idsBySocket(
    references: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly (string | undefined)[] | undefined> {
    const names = references.map(checked);
    const engine = await this.reachedSocket(signal);
    if (engine === undefined) return undefined;
    const ids: (string | undefined)[] = [];
    for (const name of names) {
      const id = await imageIdAt(engine, name, signal);
      if (id === undefined) return undefined;
      ids.push(id ?? undefined);
    }
    return ids;
  }

  /** One command for all of them: starting a CLI costs more than its answer. @returns `undefined` when only some are there. */
  private async idsAtOnce(
    references: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly (string | undefined)[] | undefined> {
    if (references.length < 2) return undefined;
    const names = references.map(checked);
    const inspect = ['image', 'inspect', '--format', '{{.Id}}', ...names];
    const { exitCode, stdout, stderr } = await this.cli.run(inspect, signal);
    const ids = linesOf(stdout).flatMap((line) => IMAGE_ID.exec(line)?.[1] ?? []);
    if (exitCode === 0 && ids.length === names.length) return ids.map((id) => `sha256:${id}`);
    const errors = linesOf(stderr);
    const noneThere =
      ids.length === 0 && errors.length === names.length && errors.every((line) => NO_SUCH_IMAGE.test(line));
    return noneThere ? names.map(() => undefined) : undefined;
  }

  private async idsOneByOne(
    references: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly (string | undefined)[]> {
    const ids: (string | undefined)[] = [];
    for (const reference of references) ids.push(await this.idOf(reference, signal));
    return ids;
  }

  private async idOf(reference: string, signal: AbortSignal): Promise<string | undefined> {
    const result = await this.cli.run(['image', 'inspect', '--format', '{{.Id}}', checked(reference)], signal);
    if (result.exitCode === 0) {
      const id = IMAGE_ID.exec(result.stdout.trim())?.[1];
      if (id !== undefined) return `sha256:${id}`;
    } else if (NO_SUCH_IMAGE.test(result.stderr)) return undefined;
    throw engineError(this.cli.command, result);
  }

  /** Docker's engine where it answers on a socket of this machine. What the CLI is, and where it finds its engine, is asked once. */
  private async reachedSocket(signal: AbortSignal): Promise<EngineSocket | undefined> {
    try {
      this.nature ??= await engineNatureOf(this.cli, signal);
      if (!this.nature.isDocker) return undefined;
      this.socketPath ??= await engineSocketPath(this.cli, signal);
    } catch {
      signal.throwIfAborted();
      return undefined; // the CLI says it again to who needs it
    }
    if (this.socketPath === undefined || this.socketPath === '') return undefined;
    const engine = await reachedEngine(this.socketPath, signal);
    if (engine?.isPodman !== true) return engine;
    // It has taken docker's place since: it gets no archive before it was asked what it does with one.
    this.nature = undefined;
    return undefined;
  }

  /** Hands the archive to the engine, or pipes it into the CLI. What stops the archive ends that before its input ends, so that the engine never takes a part for the whole. */
  private async feed(
    archive: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    engine: EngineSocket | undefined,
    env: Readonly<Record<string, string>>,
  ): Promise<CliResult> {
    const process = engine ? startSocketLoad(engine, signal) : this.cli.start(['load'], signal, env);
    const gone = new AbortController();
    const end = (): void => {
      gone.abort();
    };
    process.ended.then(end, end);
    try {
      for await (const bytes of abortable(archive, AbortSignal.any([signal, gone.signal]))) {
        // A CLI that reads no more has given up: how it ends says why.
        if (!(await writeTo(process.stdin, bytes))) break;
      }
      process.stdin.end();
    } catch (error) {
      if (!gone.signal.aborted) {
        process.kill();
        await process.ended;
        throw signal.aborted ? signal.reason : error;
      }
    }
    return process.ended;
  }
}

/**
 * Writes under backpressure. Memory is given back as soon as the pipe has the bytes: left to the collector, an archive would make it run hundreds
 * of times over everything else that the process holds.
 *
 * @returns Whether the pipe is open still.
 */
async function writeTo(stdin: Writable, bytes: Uint8Array): Promise<boolean> {
  if (stdin.destroyed) return false;
  if (!stdin.write(bytes, () => releaseBytes(bytes))) await settled(stdin);
  return !stdin.destroyed;
}

/** Resolves when a pipe takes more, or is closed. Without anything that is thrown away each time: an archive waits for its pipe ten thousand times. */
function settled(pipe: Writable): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      pipe.off('drain', settle).off('close', settle);
      resolve();
    };
    pipe.on('drain', settle).on('close', settle);
  });
}

function linesOf(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

function diffIdsIn(line: string): readonly string[] {
  try {
    const layers: unknown = JSON.parse(line);
    return Array.isArray(layers) ? layers.filter((layer): layer is string => typeof layer === 'string') : [];
  } catch {
    return [];
  }
}

function checkedId(imageId: string): string {
  if (!IMAGE_ID.test(imageId))
    throw new UnlockError('unlock.engine-failed', 'The container engine named an image by something that is no id.');
  return imageId;
}

function checked(reference: string): string {
  if (!REFERENCE.test(reference))
    throw new UnlockError('unlock.archive-invalid', 'An image has an impossible name.', { details: { reference } });
  return reference;
}
