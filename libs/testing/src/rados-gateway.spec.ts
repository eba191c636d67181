import { describeWith, type S3Service, signedS3Request, startRadosGateway } from './index.js';

describeWith('ceph', 'startRadosGateway', () => {
  let s3: S3Service;
  beforeAll(async () => {
    s3 = await startRadosGateway();
  }, 180_000);
  afterAll(() => s3.stop(), 60_000);

  it('stores what a signed PUT sends and returns it to a signed GET', async () => {
    const body = new TextEncoder().encode('sealed bytes');
    const path = `/${s3.bucket}/pack-1`;
    expect((await signedS3Request(s3.endpoint, s3, 'PUT', path, body)).status).toBe(200);
    const answer = await signedS3Request(s3.endpoint, s3, 'GET', path);
    expect(await answer.text()).toBe('sealed bytes');
    expect((await signedS3Request(s3.endpoint, s3, 'DELETE', path)).status).toBe(204);
  });

  it('authenticates: an unsigned request and one signed with another secret are refused', async () => {
    expect((await fetch(`${s3.endpoint}/${s3.bucket}/pack-2`)).status).toBe(403);
    const forged = { ...s3, secretAccessKey: 'of somebody else' };
    expect((await signedS3Request(s3.endpoint, forged, 'GET', `/${s3.bucket}/pack-2`)).status).toBe(403);
  });
});
