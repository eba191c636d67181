import { PlaintextFile } from '../ports/plaintext-file.js';

/** A file in memory, for those who write on the calling thread. */
export class InMemoryPlaintextFile extends PlaintextFile {
  content = Buffer.alloc(0);

  override get descriptor(): number {
    throw new Error('There is no file behind this one.');
  }

  override async write(bytes: Uint8Array, position: number): Promise<void> {
    await Promise.resolve();
    const grown = Buffer.alloc(Math.max(this.content.length, position + bytes.length));
    grown.set(this.content);
    grown.set(bytes, position);
    this.content = grown;
  }
}
