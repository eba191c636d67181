/// <reference types="jest" />
/** An error with this code and a sentence for people. */
export function refusal(code: string): { readonly code: string; readonly message: string } {
  return { code, message: expect.stringMatching(/^(?!.* [.:,])[A-Z].{10,}\.$/) as string };
}
