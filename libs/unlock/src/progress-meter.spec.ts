import { ManualClock } from '@azaion/kernel';

import { ProgressMeter } from './progress-meter.js';

describe('ProgressMeter', () => {
  it('knows neither total nor speed at first', () => {
    expect(new ProgressMeter(new ManualClock(0)).snapshot()).toEqual({
      phase: 'authenticating',
      bytesDone: 0,
      bytesTotal: null,
      bytesPerSecond: 0,
      etaSeconds: null,
      stalledSeconds: 0,
    });
  });

  it('tells speed and time left', () => {
    const clock = new ManualClock(0);
    const meter = new ProgressMeter(clock);
    meter.enter('loading_images');
    meter.expect(1000);
    for (let second = 0; second < 4; second++) {
      clock.advance(1000);
      meter.add(100);
    }
    expect(meter.snapshot()).toEqual({
      phase: 'loading_images',
      bytesDone: 400,
      bytesTotal: 1000,
      bytesPerSecond: 100,
      etaSeconds: 6,
      stalledSeconds: 0,
    });
  });

  it('shows a stall as no speed and no end in sight', () => {
    const clock = new ManualClock(0);
    const meter = new ProgressMeter(clock);
    meter.expect(1000);
    clock.advance(1000);
    meter.add(500);
    clock.advance(5001);
    expect(meter.snapshot()).toMatchObject({ bytesPerSecond: 0, etaSeconds: null });
  });

  it('knows no end of what it does not know the size of, and has nothing left when more came than was expected', () => {
    const clock = new ManualClock(0);
    const meter = new ProgressMeter(clock);
    meter.add(500);
    clock.advance(1000);
    meter.add(500);
    expect(meter.snapshot()).toMatchObject({ bytesPerSecond: 500, etaSeconds: null });
    meter.expect(100);
    clock.advance(1000);
    meter.add(150);
    expect(meter.snapshot()).toMatchObject({ bytesPerSecond: 150, etaSeconds: 0 });
  });

  it('takes a new phase, and whatever else moves, for no stall', () => {
    const clock = new ManualClock(0);
    const meter = new ProgressMeter(clock);
    meter.expect(1000);
    for (const move of [() => meter.enter('inspecting'), () => meter.touch(), () => meter.expect(500)]) {
      clock.advance(2999);
      move();
    }
    clock.advance(2999);
    expect(meter.snapshot().stalledSeconds).toBe(0);
  });

  it.each(['decrypting', 'inspecting', 'loading_images'] as const)(
    'tells how long nothing has moved, from the third second on, while bytes are due: %s',
    (phase) => {
      const clock = new ManualClock(0);
      const meter = new ProgressMeter(clock);
      meter.enter(phase);
      meter.expect(1000);
      meter.add(500);
      clock.advance(2999);
      expect(meter.snapshot().stalledSeconds).toBe(0);
      clock.advance(1);
      expect(meter.snapshot().stalledSeconds).toBe(3);
      clock.advance(60_000);
      expect(meter.snapshot().stalledSeconds).toBe(63);
      meter.add(1);
      expect(meter.snapshot().stalledSeconds).toBe(0);
    },
  );

  it.each([
    ['waits for somebody', 'waiting_for_flight_gate', 500],
    ['is with the engine, which has every byte', 'loading_images', 1000],
  ] as const)('sees no stall while the run %s', (_, phase, bytes) => {
    const clock = new ManualClock(0);
    const meter = new ProgressMeter(clock);
    meter.expect(1000);
    meter.add(bytes);
    meter.enter(phase);
    clock.advance(60_000);
    expect(meter.snapshot().stalledSeconds).toBe(0);
  });

  it('counts from nought when other bytes are expected', () => {
    const meter = new ProgressMeter(new ManualClock(0));
    meter.expect(1000);
    meter.add(700);
    meter.expect(200);
    expect(meter.snapshot()).toMatchObject({ bytesDone: 0, bytesTotal: 200 });
  });

  it('forgets how slow the start was', () => {
    const clock = new ManualClock(0);
    const meter = new ProgressMeter(clock);
    meter.expect(100_000);
    clock.advance(60_000);
    for (let second = 0; second < 10; second++) {
      meter.add(1000);
      clock.advance(1000);
    }
    expect(meter.snapshot().bytesPerSecond).toBeGreaterThanOrEqual(800);
  });

  it('keeps few samples however many pieces pass', () => {
    const clock = new ManualClock(0);
    const meter = new ProgressMeter(clock);
    for (let piece = 0; piece < 100_000; piece++) {
      meter.add(1);
      clock.advance(1);
    }
    expect((meter as unknown as { samples: unknown[] }).samples.length).toBeLessThan(30);
    expect(meter.snapshot()).toMatchObject({ bytesDone: 100_000, bytesTotal: null, etaSeconds: null });
  });
});
