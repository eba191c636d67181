import { ChunkWorkerPool } from '@azaion/adapters/chunk-workers';
import { DirectoryPackSource, DirectoryPackStore, DirectorySegmentStore } from '@azaion/adapters/file-store';
import { ApiClient, fixedToken, HttpGrantApi, HttpWellKnown } from '@azaion/adapters/resource-api';
import { FileStatementTrust } from '@azaion/adapters/trust-store';
import { ephemeralRecipient } from '@azaion/crypto';
import { resourceName, SystemClock } from '@azaion/kernel';
import { FetchResource, type OpenedResource, PackReader, type PackSource } from '@azaion/split-resource';

/** What the processes that a benchmark starts are told. */
export interface LocalOpenerOptions {
  readonly apiUrl: string;
  /** Access token of who opens. */
  readonly token: string;
  /** Directory of their own: packs that were fetched, segments, trust. */
  readonly workDirectory: string;
  /** `folder/name`. */
  readonly resource: string;
  /** Threads that open; 0 opens on the calling thread. */
  readonly threads: number;
  readonly sources: readonly PackSource[];
}

/** A resource that was granted and verified, and what ends the work behind it. */
export interface LocallyOpened {
  readonly opened: OpenedResource;
  readonly close: () => Promise<void>;
}

/** Opens a resource as a person does who has only a token, with every check on. */
export async function openLocally(options: LocalOpenerOptions): Promise<LocallyOpened> {
  const { apiUrl, token, workDirectory, threads, sources } = options;
  const [folder = '', name = ''] = options.resource.split('/');
  const clock = new SystemClock();
  const client = new ApiClient({ baseUrl: apiUrl });
  const pool = threads > 0 ? new ChunkWorkerPool({ threads }) : undefined;
  const trust = await FileStatementTrust.open({
    dataDirectory: workDirectory,
    root: undefined,
    trustOnFirstUse: true,
    documents: new HttpWellKnown(client),
    clock,
    warn: () => undefined,
  });
  const store = new DirectoryPackStore({ directory: `${workDirectory}/packs`, limitBytes: 2 ** 40 });
  const fetcher = new FetchResource({
    api: new HttpGrantApi(client, fixedToken(token)),
    trust,
    reader: new PackReader(store, sources),
    segments: new DirectorySegmentStore(`${workDirectory}/segments`),
    clock,
    ...(pool && { opener: pool.opener }),
  });
  const recipient = { ...(await ephemeralRecipient()), serial: undefined };
  return {
    opened: await fetcher.run({ resource: resourceName(folder, name), recipient }),
    close: async () => {
      await pool?.close();
      await client.close();
    },
  };
}

/** The packs of a file store on this machine. */
export function localPacks(directory: string): readonly PackSource[] {
  return [new DirectoryPackSource(directory)];
}
