/** Who is asking. Made from a token by users/sessions.ts; every domain function checks against it. */
export interface Actor {
  /** key of the user, null while a masqueraded user does not exist yet: a command makes it in its own commit */
  readonly user: number | null
  readonly userId: string
  readonly device: string | null
  /** key of the appservice whose as_token was used */
  readonly appservice: number | null
  /** an appservice acting for the instance's owner, within the limits of docs/bridges.md */
  readonly puppet: boolean
  readonly admin: boolean
  /** hash of the access token, for logout */
  readonly tokenHash: string
  /** when the access token ends by itself, ms since the epoch; null or left out: never */
  readonly tokenExpiresAt?: number | null
  /** as the user's row said when the token was looked up; users/standing.ts knows what it is now */
  readonly standing?: Standing
}

/** Whether a person may use the account. */
export interface Standing {
  readonly locked: boolean
  readonly suspended: boolean
}
