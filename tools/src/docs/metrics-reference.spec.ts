import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { METRIC_SOURCES, METRICS_PAGE, metricsOf, workspaceMetricsPage } from './metrics-reference.js';

const WORKSPACE = join(import.meta.dirname, '..', '..', '..');

describe('docs/reference/metrics.md', () => {
  it('is what the definitions make (npm run docs)', () => {
    expect(readFileSync(join(WORKSPACE, METRICS_PAGE), 'utf8')).toBe(workspaceMetricsPage(WORKSPACE));
  });

  it('has a row for every metric that a service defines', () => {
    const sources = globSync('{apps,libs}/*/src/**/*.ts', {
      cwd: WORKSPACE,
      exclude: (path) => path.endsWith('.spec.ts'),
    });
    const defining = sources.filter((path) =>
      /metrics\.(?:counter|gauge|histogram)\(/.test(readFileSync(join(WORKSPACE, path), 'utf8')),
    );
    expect(defining.sort()).toEqual(METRIC_SOURCES.map(({ path }) => path).sort());
    for (const path of defining) {
      const source = readFileSync(join(WORKSPACE, path), 'utf8');
      expect(metricsOf(source)).toHaveLength(source.match(/name: 'azaion_\w+'/g)?.length ?? 0);
    }
  });
});
