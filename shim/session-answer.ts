/** What login and register have in common. */
import type { Owner } from './endpoint.ts'

/** Whose homeserver the name means. */
export function ownerOf(user: string | null | undefined): Owner | null {
  if (!user) return null
  const [, localpart = user, domain = null] = /^@([^:]+):(.+)$/.exec(user) ?? []
  return { localpart: localpart.toLowerCase(), domain }
}

/** What login and register answer of a session: `refresh_token` only where it was asked for, or Element X logs out again. */
export function sessionAnswer(session: {
  readonly accessToken: string
  readonly deviceId: string
  readonly refreshToken: string | null
  readonly expiresInMs: number | null
}): object {
  return {
    access_token: session.accessToken,
    device_id: session.deviceId,
    refresh_token: session.refreshToken ?? undefined,
    expires_in_ms: session.expiresInMs ?? undefined,
  }
}
