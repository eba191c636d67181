/** Where the access token of a call comes from. */
export interface AccessTokens {
  /** The token to send now. */
  current(): Promise<string>;

  /**
   * Asked once when the API answered 401 or 403; the call is then repeated once with what comes back.
   *
   * @param refused - The token that was sent: whoever shares a session must not log in again when it has been replaced already.
   * @returns Another token, or `undefined` when there is none.
   */
  renew?(refused: string): Promise<string | undefined>;
}

/** A token that the caller brought along: it is never renewed for a person. */
export function fixedToken(token: string): AccessTokens {
  return { current: () => Promise.resolve(token) };
}
