import type { OpenedChunks } from '../chunk-work.js';

/** A run of chunks that an opener works on. */
export class OpeningRun {
  private first: Promise<OpenedChunks> | undefined;
  private hasBegun = false;

  constructor(private readonly opened: AsyncGenerator<OpenedChunks, void>) {}

  /** Has the opener begin before the turn of the run, where it waits to be asked. What fails is reported in its turn. */
  begin(): void {
    if (this.hasBegun) return;
    this.first = this.next();
    this.first.catch(() => undefined);
  }

  /** The next chunks in their order. @throws as the opener does; Error when it has left chunks out. */
  async next(): Promise<OpenedChunks> {
    this.hasBegun = true;
    const { first } = this;
    this.first = undefined;
    if (first !== undefined) return first;
    const next = await this.opened.next();
    if (next.done) throw new Error('An opener left chunks out.');
    return next.value;
  }
}
