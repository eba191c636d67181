/** What is cut, hashed, named or sealed on a thread before others have their turn: a few milliseconds of work. */
export const TURN_BYTES = 1024 * 1024;

/** Lets the event loop turn now and then, so that work on whole windows holds up nobody for long. */
export class Turns {
  private leftBytes = 0;

  /** Call it before work on so many bytes. */
  async take(bytes: number): Promise<void> {
    if (this.leftBytes <= 0) {
      await new Promise((resolve) => setImmediate(resolve));
      this.leftBytes = TURN_BYTES;
    }
    this.leftBytes -= bytes;
  }
}
