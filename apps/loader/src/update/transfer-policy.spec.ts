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

  it('rests as long as the limit wants, and never without one', () => {
    const policy = new TransferPolicy(1000, undefined);
    expect([policy.restMs(5000, 1000), policy.restMs(5000, 5000), policy.restMs(5000, 9000)]).toEqual([4000, 0, 0]);
    expect(new TransferPolicy(undefined, undefined).restMs(5000, 0)).toBe(0);
  });
});
