/// <reference types="jest" />
/** What every refusal says to people: a sentence without gaps. */
export const SENTENCE = expect.stringMatching(/^(?!.* [.:])[A-Z].{15,}\.$/) as string;
