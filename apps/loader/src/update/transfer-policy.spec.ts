import { TransferPolicy } from './transfer-policy.js';

const at = (text: string): Date => new Date(`2026-03-01T${text}:00`); // local time

describe('TransferPolicy', () => {
  it.each([
    ['00:00', true],
    ['23:59', true],
  ])('without a window is open at %s', (time, open) => {
    expect(new TransferPolicy(undefined, undefined).isOpen(at(time))).toBe(open);
  });

  it.each([
    ['08:00-17:30', '07:59', false],
    ['08:00-17:30', '08:00', true],
    ['08:00-17:30', '17:29', true],
    ['08:00-17:30', '17:30', false],
    ['22:00-06:00', '21:59', false],
    ['22:00-06:00', '22:00', true],
    ['22:00-06:00', '00:00', true],
    ['22:00-06:00', '05:59', true],
    ['22:00-06:00', '06:00', false],
    ['05:00-05:00', '12:00', true],
  ])('with the window %s is at %s open: %s', (window, time, open) => {
    expect(new TransferPolicy(undefined, window).isOpen(at(time))).toBe(open);
  });

  it('rests as long as the limit wants for all that was moved, and never without one', () => {
    const policy = new TransferPolicy(1000, undefined);
    expect(policy.restMs(0)).toBe(0);
    policy.moved(5000, 0);
    expect([policy.restMs(1000), policy.restMs(5000), policy.restMs(9000)]).toEqual([4000, 0, 0]);
    policy.moved(1000, 2000); // begun before the rest was over: it comes on top
    expect(policy.restMs(5000)).toBe(1000);
    const unlimited = new TransferPolicy(undefined, undefined);
    unlimited.moved(5000, 0);
    expect(unlimited.restMs(0)).toBe(0);
  });

  it('saves up no time in which nothing was moved', () => {
    const policy = new TransferPolicy(1000, undefined);
    policy.moved(1000, 0);
    policy.moved(1000, 60_000);
    expect(policy.restMs(60_000)).toBe(1000);
  });
});
