/** What the tests of locking and suspending share. */
import assert from 'node:assert/strict'
import type { Client, Reply, TestServer } from '../rig/server.ts'

export const stablePath = '/_matrix/client/v1/admin'
export const unstablePath = '/_matrix/client/unstable/uk.timedout.msc4323/admin'

export function addressOf(what: 'lock' | 'suspend', userId: string, prefix = stablePath): string {
  return `${prefix}/${what}/${encodeURIComponent(userId)}`
}

/** By the administrator. */
export async function setLocked(server: TestServer, { userId }: Pick<Client, 'userId'>, locked: boolean): Promise<void> {
  const { status, body } = await server.administrator.put(addressOf('lock', userId), { locked })
  assert.deepEqual([status, body], [200, { locked }])
}

export async function setSuspended(server: TestServer, { userId }: Pick<Client, 'userId'>, suspended: boolean): Promise<void> {
  const { status, body } = await server.administrator.put(addressOf('suspend', userId), { suspended })
  assert.deepEqual([status, body], [200, { suspended }])
}

export function refused({ status, body }: Reply, wantedStatus: number, errcode: string, where = ''): void {
  assert.deepEqual([status, body.errcode], [wantedStatus, errcode], `${where} ${JSON.stringify(body)}`)
}

/** 401 that tells clients to keep what they have. */
export function lockedOut({ status, body }: Reply, where = ''): void {
  assert.deepEqual([status, body.errcode, body.soft_logout], [401, 'M_USER_LOCKED', true], `${where} ${JSON.stringify(body)}`)
}

export function accepted({ status, body }: Reply): Reply['body'] {
  assert.equal(status, 200, JSON.stringify(body))
  return body
}

/** The errcode of an operation that was refused. */
export async function errcodeOf(client: Client, query: string, variables: Record<string, unknown> = {}): Promise<string | undefined> {
  const { errors } = await client.graphql(query, variables)
  return errors?.[0].extensions.errcode
}
