/** A bridge as the tests of this folder need it: registered, without anything that listens. */
import type { Client, TestServer } from '../rig/server.ts'

export interface TestBridge {
  readonly id: string
  readonly as_token: string
  readonly sender_localpart: string
  readonly botId: string
  /** the id of its n-th ghost */
  ghost(n: number): string
  /** requests as one of its users, or as the owner */
  as(userId: string): { request: Client['request'] }
}

export async function registerBridge(test: TestServer, id: string): Promise<TestBridge> {
  const path = `/_matrix/asmux/mxauth/appservice/owner/${id}`
  const { status, body: registration } = await test.owner.put(path, { push: false })
  if (status !== 200) throw new Error(JSON.stringify(registration))
  const { bridgeDomain } = await test.server.host.defaultInstance()
  const client = test.client(registration.as_token)
  return {
    id,
    as_token: registration.as_token,
    sender_localpart: registration.sender_localpart,
    botId: `@${registration.sender_localpart}:${bridgeDomain}`,
    ghost: (n) => `@${id}_${n}:${bridgeDomain}`,
    as: (userId) => ({
      request: (method, path, body, options) =>
        client.request(method, `${path}${path.includes('?') ? '&' : '?'}user_id=${encodeURIComponent(userId)}`, body, options),
    }),
  }
}
