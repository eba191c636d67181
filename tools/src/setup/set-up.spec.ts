import { missingComponents, planSetup, type SetupSituation } from './set-up.js';

const ROOT_ON_DEBIAN: SetupSituation = {
  isMissing: true,
  isDebian: true,
  isRoot: true,
  isCi: false,
  isTerminal: true,
  setting: undefined,
};

describe('planSetup', () => {
  it.each<[string, Partial<SetupSituation>, ReturnType<typeof planSetup>]>([
    ['nothing is missing', { isMissing: false }, 'nothing'],
    ['root on Debian at a terminal', {}, 'ask'],
    ['no terminal', { isTerminal: false }, 'install'],
    ['CI', { isCi: true }, 'install'],
    ['AZAION_SETUP=no', { setting: 'no' }, 'tell'],
    ['AZAION_SETUP=no in CI', { setting: 'no', isCi: true, isTerminal: false }, 'tell'],
    ['not root', { isRoot: false, isTerminal: false }, 'tell'],
    ['not Debian', { isDebian: false, isCi: true }, 'tell'],
  ])('%s', (_situation, differences, plan) => {
    expect(planSetup({ ...ROOT_ON_DEBIAN, ...differences })).toBe(plan);
  });
});

describe('missingComponents, on a machine that has none', () => {
  const path = process.env['PATH'];
  beforeEach(() => (process.env['PATH'] = '/nowhere'));
  afterEach(() => (process.env['PATH'] = path));

  it('asks for what only images need when images are to be tested, and not otherwise', () => {
    expect(missingComponents(true)).toContain('registry');
    expect(missingComponents(false)).not.toContain('registry');
    expect(missingComponents(false)).toContain('compose');
  });
});
