import type { PackId } from '../pack.js';
import { MAX_PACK_URLS, type PackUrl } from '../ports/grant-api.js';
import type { HeldGrant } from './held-grant.js';

/** The signed URLs of one grant's packs; asked for in batches, renewed when the CDN no longer accepts them. */
export class PackUrls {
  private readonly urls = new Map<PackId, PackUrl>();
  private readonly asked = new Map<PackId, Promise<void>>();

  constructor(
    private readonly grant: Pick<HeldGrant, 'packUrls'>,
    first: readonly PackUrl[],
  ) {
    this.remember(first);
  }

  /**
   * The URL of a pack.
   *
   * @param upcoming - Packs that will be wanted next, asked for together with this one.
   * @param refused - A URL that the CDN did not accept: never returned again.
   * @returns `undefined` when the Admin API gives none.
   */
  async of(packId: PackId, upcoming: () => readonly PackId[], refused?: string): Promise<PackUrl | undefined> {
    const known = this.urls.get(packId);
    if (known !== undefined && known.url !== refused) return known;
    if (known !== undefined) this.urls.delete(packId);
    let asking = this.asked.get(packId);
    if (asking === undefined) {
      const batch = [packId, ...upcoming().filter((other) => other !== packId && !this.urls.has(other))].slice(
        0,
        MAX_PACK_URLS,
      );
      asking = this.ask(batch).finally(() => batch.forEach((other) => this.asked.delete(other)));
      for (const other of batch) this.asked.set(other, asking);
    }
    await asking;
    return this.urls.get(packId);
  }

  private async ask(packIds: readonly PackId[]): Promise<void> {
    this.remember(await this.grant.packUrls(packIds));
  }

  private remember(urls: readonly PackUrl[]): void {
    for (const url of urls) this.urls.set(url.packId, url);
  }
}
