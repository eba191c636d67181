import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { tempDirectory } from '@azaion/testing';

import { DocumentExamples } from './document-examples.js';
import { tokenFrom } from './started-system.js';

const DEMO = join(import.meta.dirname, '..', '..', 'dist', 'demo.js');
const ADMIN = 'admin@azaion.example';

/** What `npm start -- --json` prints. */
interface DemoFigures {
  readonly ok: boolean;
  readonly failed: readonly string[];
  readonly model_bytes: number;
  readonly model_uploaded_bytes: number;
  readonly update_uploaded_bytes: number;
  readonly unlock: boolean;
  readonly [figure: string]: unknown;
}

const MADE_FOR_IT = 'takes what keys or an earlier answer of the same upload, grant or enrolment say';
/** Operations whose examples cannot work as they stand, and why. */
const NOT_BY_EXAMPLE: Readonly<Record<string, string>> = {
  'POST /login': 'takes a password, which each demo makes for itself',
  'POST /login/device': MADE_FOR_IT,
  'POST /token/refresh': MADE_FOR_IT,
  'POST /logout': 'would end the session that all others are called with',
  'POST /logout/all': 'would end the session that all others are called with',
  'POST /unlock/cancel': 'finds nothing to cancel: a small archive is unlocked at once',
  'POST /devices/{serial}/enrolment/challenge': MADE_FOR_IT,
  'POST /devices/{serial}/enrolment': MADE_FOR_IT,
  'POST /devices/{serial}/enrolment/activation': MADE_FOR_IT,
  'POST /devices/{serial}/report': 'is for the device itself',
  'GET /devices/me/desired': 'is for the device itself',
  'GET /sealed/uploads/{id}': MADE_FOR_IT,
  'DELETE /sealed/uploads/{id}': MADE_FOR_IT,
  'PUT /sealed/uploads/{id}/heartbeat': MADE_FOR_IT,
  'POST /sealed/uploads/{id}/known-chunks': MADE_FOR_IT,
  'POST /sealed/uploads/{id}/packs': MADE_FOR_IT,
  'PUT /sealed/uploads/{id}/packs/{packId}/chunks': MADE_FOR_IT,
  'PUT /sealed/uploads/{id}/segments/{kind}/{index}': MADE_FOR_IT,
  'POST /sealed/uploads/{id}/commit': MADE_FOR_IT,
  'POST /sealed/grants/{id}/urls': MADE_FOR_IT,
  'GET /sealed/grants/{id}/segments/{kind}/{index}': MADE_FOR_IT,
  'POST /resources/get': 'takes a password, which each demo makes for itself',
  'POST /resources/get/{dataFolder}': 'takes a password, which each demo makes for itself',
  'PUT /statement-keys/document': 'takes a document signed by the offline root',
};

/** What the examples of others need is gone after these. */
const LAST = ['POST /devices/{serial}/reset', 'POST /devices/{serial}/revoke'];

/** A demo that runs, as `npm start` runs it. */
interface StartedDemo {
  readonly figures: DemoFigures;
  /** What it tells a person, so far. */
  readonly said: string;
  /** Waits for its end, after a SIGTERM where it does not end by itself. @returns Its exit status. */
  readonly end: () => Promise<number | null>;
}

async function startDemo(...options: readonly string[]): Promise<StartedDemo> {
  const child = spawn(process.execPath, [DEMO, '--json', ...options], {
    env: { ...process.env, NODE_OPTIONS: undefined },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'exit') as Promise<[number | null]>;
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (more: string) => (said += more));
  const printed = once(createInterface(child.stdout), 'line') as Promise<[string]>;
  const [line] = await Promise.race([printed, ended.then(() => [])]);
  if (typeof line !== 'string') throw new Error(`The demo printed no figures: ${said}`);
  return {
    figures: JSON.parse(line) as DemoFigures,
    get said() {
      return said;
    },
    end: async () => {
      if (!options.includes('--exit')) child.kill('SIGTERM');
      return (await ended)[0];
    },
  };
}

describe('the demo', () => {
  it('shows the whole system, twice on the same data: neither store alone opens anything, the controls do; examples of the documents work against it', async () => {
    const directory = await tempDirectory('azaion-demo');
    try {
      await chmod(directory.path, 0o755); // as root, PostgreSQL runs as another user
      const data = ['--data', join(directory.path, 'data')];
      const first = await startDemo('--exit', ...data);
      expect(await first.end()).toBe(0);
      assertShown(first.figures);

      const second = await startDemo(...data);
      try {
        assertShown(second.figures);
        expect(await refusedExamples(second.said)).toEqual([]);
      } finally {
        expect(await second.end()).toBe(0);
      }
    } finally {
      await directory.remove();
    }
  });
});

function assertShown(figures: DemoFigures): void {
  expect({ ok: figures.ok, failed: figures.failed }).toEqual({ ok: true, failed: [] });
  expect(figures.unlock).toBe(true);
  expect(figures.model_bytes).toBeGreaterThan(10_000_000);
  expect(figures.update_uploaded_bytes).toBeLessThan(figures.model_bytes / 10);
  const recovered = (kind: string): unknown[] =>
    Object.entries(figures).flatMap(([key, value]) =>
      key.startsWith(kind) && key.endsWith('_recovered') ? [value] : [],
    );
  expect(recovered('attack_')).toEqual([0, 0, 0, 0]);
  expect(recovered('control_')).toHaveLength(3);
  for (const count of recovered('control_')) expect(count).toBeGreaterThan(0);
}

/** What a newcomer does who authorizes as the administrator and presses "Try it out" and "Execute" everywhere. */
async function refusedExamples(guide: string): Promise<readonly unknown[]> {
  const found = (pattern: RegExp): string => pattern.exec(guide)?.[1] ?? '';
  const api = found(/Admin API +(http:\S+)\/docs/);
  const password = found(new RegExp(`${ADMIN} +(\\S+)`));
  const token = await tokenFrom(api, { email: ADMIN, password });
  const refused: unknown[] = [];
  for (const service of [found(/Loader +(http:\S+)\/docs/), api]) {
    const examples = await DocumentExamples.of(service);
    const inTurn = [...examples.operations].sort((one, other) => LAST.indexOf(one) - LAST.indexOf(other));
    for (const operation of inTurn) {
      if (operation in NOT_BY_EXAMPLE) continue;
      const answer = await examples.call(operation, token);
      if (answer.status >= 400) refused.push(answer);
    }
  }
  return refused;
}
