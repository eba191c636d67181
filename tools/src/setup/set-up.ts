import { type ComponentName, COMPONENTS, findProgram } from '@azaion/testing';

/** What is known about the machine when missing components may have to be installed. */
export interface SetupSituation {
  readonly isMissing: boolean;
  /** Has `apt-get`. */
  readonly isDebian: boolean;
  readonly isRoot: boolean;
  readonly isCi: boolean;
  readonly isTerminal: boolean;
  /** `AZAION_SETUP`; `no` forbids every installation. */
  readonly setting: string | undefined;
}

/** What to do about missing components: nothing, install them, ask first, or only say what is missing. */
export type SetupPlan = 'ask' | 'install' | 'nothing' | 'tell';

/** Decides by the rules of the README: never without leave, and without a question where nobody could answer it. */
export function planSetup(situation: SetupSituation): SetupPlan {
  if (!situation.isMissing) return 'nothing';
  if (situation.setting === 'no' || !situation.isDebian || !situation.isRoot) return 'tell';
  return situation.isCi || !situation.isTerminal ? 'install' : 'ask';
}

/** Components with a program that is not on this machine. @param forImages - Also those that only the suites of the container images need. */
export function missingComponents(forImages: boolean): ComponentName[] {
  return (Object.keys(COMPONENTS) as ComponentName[]).filter((name) => {
    const component = COMPONENTS[name];
    const isAskedFor = forImages || !('forImages' in component);
    return isAskedFor && component.programs.some((program) => findProgram(program) === undefined);
  });
}
