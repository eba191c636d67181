import { ManualClock } from '@azaion/kernel';

import { Outages } from './outages.js';

describe('Outages', () => {
  const clock = new ManualClock(0);
  let told: string[];
  let outages: Outages;
  beforeEach(() => {
    told = [];
    outages = new Outages(clock, {
      began: (reason) => told.push(`began ${reason}`),
      ended: (durationMs) => told.push(`ended after ${String(durationMs)}`),
    });
  });

  it('are told once when they begin and once when they are over', () => {
    outages.succeeded();
    outages.failed('ECONNREFUSED');
    clock.advance(3_000);
    outages.failed('57P03');
    clock.advance(1_000);
    outages.succeeded();
    outages.succeeded();
    expect(told).toEqual(['began ECONNREFUSED', 'ended after 4000']);
  });

  it('go on while some calls fail and others do not', () => {
    for (let times = 0; times < 100; times++) {
      outages.failed('53300');
      clock.advance(999);
      outages.succeeded();
    }
    expect(told).toEqual(['began 53300']);
    clock.advance(1);
    outages.succeeded();
    outages.failed('53300');
    expect(told).toEqual(['began 53300', 'ended after 99901', 'began 53300']);
  });
});
