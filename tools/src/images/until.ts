import { setTimeout as delay } from 'node:timers/promises';

/** Asks until the answer is yes. @throws Error with an explanation after ten minutes, which an emulated processor may need. */
export async function until(isSo: () => Promise<boolean>, explain: () => Promise<string>): Promise<void> {
  const deadlineMs = performance.now() + 600_000;
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(await explain());
    await delay(500);
  }
}
