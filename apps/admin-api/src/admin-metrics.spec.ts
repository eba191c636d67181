import { randomBytes } from 'node:crypto';

import { DraftUpload } from './testing/draft-upload.js';
import { type StartedApi, startApi } from './testing/started-api.js';

const SCRAPE_TOKEN = 'a-token-of-the-scraper';

describe('the metrics of the Admin API', () => {
  let api: StartedApi;
  beforeAll(async () => {
    api = await startApi({ METRICS_TOKEN: SCRAPE_TOKEN });
  });
  afterAll(() => api.stop());

  const valueOf = async (series: string): Promise<number> => {
    const { text } = await api.call('GET', '/metrics', { token: SCRAPE_TOKEN });
    const line = text.split('\n').find((each) => each.startsWith(`${series} `));
    return Number(line?.slice(series.length + 1) ?? 0);
  };

  it('are for the scrape token, and for administrators alone', async () => {
    const operator = await api.account('Operator');
    const statusFor = async (token?: string): Promise<number> => (await api.call('GET', '/metrics', { token })).status;
    expect(await statusFor()).toBe(401);
    expect(await statusFor(`${SCRAPE_TOKEN}.`)).toBe(401);
    expect(await statusFor(operator.token)).toBe(403);
    expect(await statusFor(SCRAPE_TOKEN)).toBe(200);
    expect(await statusFor(api.administrator.token)).toBe(200);
  });

  it('count logins that failed, by route and status', async () => {
    const series = 'azaion_http_requests_total{method="POST",route="/login",status="401"}';
    const before = await valueOf(series);
    expect((await api.logIn('nobody@example.com', 'guess')).status).toBe(401);
    expect(await valueOf(series)).toBe(before + 1);
  });

  it('show what waits for its check, what packs take, and how busy the database is', async () => {
    expect(await valueOf('azaion_versions_unverified{state="pending"}')).toBe(0);
    const publisher = await api.account('ResourceUploader');
    const upload = await DraftUpload.open(api, publisher, 'models/counted');
    const pack = await upload.pack(randomBytes(1000));
    expect(await valueOf('azaion_pack_bytes{state="stored"}')).toBe(0); // no version needs it
    expect((await upload.commit(upload.draft(pack))).status).toBeLessThan(300);
    expect(await valueOf('azaion_pack_bytes{state="stored"}')).toBe(pack.sizeBytes);
    expect(await valueOf('azaion_pack_bytes{state="saved"}')).toBe(0);
    expect(await valueOf('azaion_versions_unverified{state="pending"}')).toBe(1);
    expect(await valueOf('azaion_versions_unverified{state="bad"}')).toBe(0);
    expect(await valueOf('azaion_database_connections{state="idle"}')).toBeGreaterThan(0);
    expect(await valueOf('azaion_database_waiting')).toBe(0);
  });
});
