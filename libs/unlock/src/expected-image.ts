/** One image that an archive must hold. A statement's images are of this form. */
export interface ExpectedImage {
  /** Repository and tag, for example `azaion/detections:1.4.0`. */
  readonly reference: string;
  /** `sha256:…` of the image's configuration; `null` in a legacy archive, where the tag is all there is. */
  readonly configDigest: string | null;
  /** `sha256:…` of the OCI manifest, where the archive has one. */
  readonly manifestDigest: string | null;
}

const DEFAULT_REGISTRIES = ['docker.io/library/', 'docker.io/', 'localhost/'];

/** One spelling for one image: without the registry that engines add by themselves, and with the tag that they assume. */
export function canonicalReference(reference: string): string {
  const registry = DEFAULT_REGISTRIES.find((prefix) => reference.startsWith(prefix)) ?? '';
  const short = reference.slice(registry.length);
  return short.includes(':', short.lastIndexOf('/') + 1) || short.includes('@') ? short : `${short}:latest`;
}

/** Whether the id that an engine gives an image is the one that is expected. Engines use the digest of the configuration or of the manifest. */
export function hasExpectedId(expected: ExpectedImage, imageId: string): boolean {
  return expected.configDigest === null || imageId === expected.configDigest || imageId === expected.manifestDigest;
}
