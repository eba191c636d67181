import { freePort, nobodyListens } from '@azaion/testing';

/** The preferred port of loopback when nobody listens there, else some free one. */
export async function preferredPort(preferred: number): Promise<number> {
  return (await nobodyListens(preferred)) ? preferred : freePort();
}
