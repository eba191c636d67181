import type { StatementImage } from '@azaion/crypto';
import { canonicalReference, UnlockError } from '@azaion/unlock';

/** A small file of an archive: its bytes and their SHA-256, hexadecimal. */
export interface SmallFile {
  readonly bytes: Buffer;
  readonly sha256: string;
}

const MAX_IMAGES = 256;
const MAX_REFERENCE_LENGTH = 512;
const DIGEST = /^sha256:([0-9a-f]{64})$/;
const REFERENCE = /^[A-Za-z0-9][A-Za-z0-9._:/@-]*$/;
const NAME_ANNOTATIONS = ['io.containerd.image.name', 'org.opencontainers.image.ref.name'];

/** Tells from an archive's small files which images it holds: `docker save` (manifest.json), OCI layout (index.json), or both. */
export function readImageIndex(files: ReadonlyMap<string, SmallFile>): readonly StatementImage[] {
  const docker = files.get('manifest.json');
  const layout = files.get('index.json');
  if (docker === undefined && layout === undefined)
    throw invalid('it has neither a manifest.json nor an index.json: make it with "docker save"');
  const fromLayout = layout === undefined ? [] : readLayout(layout, files);
  const images = docker === undefined ? named(fromLayout) : readDockerManifest(docker, files, fromLayout);
  if (images.length === 0) throw invalid('it holds no image');
  if (images.length > MAX_IMAGES) throw invalid('it holds too many images');
  if (new Set(images.map((image) => image.reference)).size !== images.length) throw invalid('it names one image twice');
  return images;
}

interface LayoutImage {
  readonly reference: string | undefined;
  readonly configDigest: string;
  readonly manifestDigest: string;
}

/** `manifest.json` of `docker save`: a list of configurations, each with its tags. */
function readDockerManifest(
  manifest: SmallFile,
  files: ReadonlyMap<string, SmallFile>,
  layout: readonly LayoutImage[],
): readonly StatementImage[] {
  const entries = parseJson(manifest, 'manifest.json');
  if (!Array.isArray(entries)) throw invalid('its manifest.json is no list');
  const images: StatementImage[] = [];
  const configDigests = new Set<string>();
  for (const entry of entries as unknown[]) {
    const { Config: config, RepoTags: tags } = record(entry, 'manifest.json');
    const file = typeof config === 'string' ? files.get(config) : undefined;
    if (file === undefined) throw invalid('its manifest.json names a configuration that is not there');
    record(parseJson(file, 'configuration'), 'configuration');
    if (!Array.isArray(tags) || tags.length === 0) throw invalid('it holds an image without a name');
    const configDigest = `sha256:${file.sha256}`;
    configDigests.add(configDigest);
    const manifestDigest = layout.find((image) => image.configDigest === configDigest)?.manifestDigest ?? null;
    for (const tag of tags as unknown[]) images.push({ reference: reference(tag), configDigest, manifestDigest });
  }
  // Engines differ in which of the two they read: both must name the same images.
  if (layout.some((image) => !configDigests.has(image.configDigest)))
    throw invalid('its manifest.json and its index.json name different images');
  return images;
}

/**
 * `index.json` of an OCI image layout: manifests, or indexes of manifests for several platforms. An image's manifest digest is the one
 * that `index.json` itself names: engines that keep images as they came report it as the image's id.
 */
function readLayout(index: SmallFile, files: ReadonlyMap<string, SmallFile>): readonly LayoutImage[] {
  const images: LayoutImage[] = [];
  const walk = (file: SmallFile, name: string | undefined, top: SmallFile | undefined, depth: number): void => {
    const { manifests, config } = record(parseJson(file, 'OCI index'), 'OCI index');
    if (Array.isArray(manifests)) {
      if (depth === 0 || manifests.length > MAX_IMAGES) throw invalid('its index is nested too deep or too long');
      for (const descriptor of manifests as unknown[]) {
        if (isAttestation(descriptor)) continue;
        const inner = blob(descriptor, files);
        walk(inner, nameOf(descriptor) ?? name, top ?? inner, depth - 1);
      }
      return;
    }
    images.push({
      reference: name,
      configDigest: `sha256:${blob(config, files).sha256}`,
      manifestDigest: `sha256:${(top ?? file).sha256}`,
    });
    if (images.length > MAX_IMAGES) throw invalid('it holds too many images');
  };
  walk(index, undefined, undefined, 2);
  return images;
}

function named(images: readonly LayoutImage[]): readonly StatementImage[] {
  return images.map(({ reference: name, configDigest, manifestDigest }) => {
    if (name === undefined) throw invalid('it holds an image without a name');
    return { reference: reference(name), configDigest, manifestDigest };
  });
}

/** Build records that BuildKit lays beside an image: nothing that runs. */
function isAttestation(descriptor: unknown): boolean {
  const { annotations } = record(descriptor, 'OCI descriptor');
  return typeof annotations === 'object' && annotations !== null && 'vnd.docker.reference.type' in annotations;
}

function nameOf(descriptor: unknown): string | undefined {
  const { annotations } = record(descriptor, 'OCI descriptor');
  if (typeof annotations !== 'object' || annotations === null) return undefined;
  const values = NAME_ANNOTATIONS.map((key) => (annotations as Record<string, unknown>)[key]);
  return values.find((value) => typeof value === 'string');
}

/** A blob of the layout; its bytes must be what its name says. */
function blob(descriptor: unknown, files: ReadonlyMap<string, SmallFile>): SmallFile {
  const { digest } = record(descriptor, 'OCI descriptor');
  const hex = typeof digest === 'string' ? DIGEST.exec(digest)?.[1] : undefined;
  const file = hex === undefined ? undefined : files.get(`blobs/sha256/${hex}`);
  if (file === undefined || file.sha256 !== hex) throw invalid('its index names a blob that is not there');
  return file;
}

function reference(text: unknown): string {
  if (typeof text !== 'string' || text.length > MAX_REFERENCE_LENGTH || !REFERENCE.test(text))
    throw invalid('it holds an image with an impossible name');
  return canonicalReference(text);
}

function parseJson(file: SmallFile, what: string): unknown {
  try {
    return JSON.parse(file.bytes.toString('utf8'));
  } catch (cause) {
    throw invalid(`its ${what} is not JSON`, cause);
  }
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`its ${what} is malformed`);
  return value as Record<string, unknown>;
}

/** The error for anything that is no image archive. */
export function invalid(why: string, cause?: unknown): UnlockError {
  return new UnlockError('unlock.archive-invalid', `This is not an image archive that can be used: ${why}.`, { cause });
}
