/** Devices that get messages, and what waits for them. */
import { readInbox } from '../../src/devices/inbox.ts'
import { command } from '../../src/stream/command.ts'
import type { Instance } from '../../src/stream/instance.ts'
import { loginWithPassword } from '../../src/users/accounts.ts'
import { makeUser } from '../../src/users/users.ts'
import { Client, type TestServer, testPassword } from '../rig/server.ts'

/** A person with as many devices; the first is the one they registered with. */
export async function personWithDevices(server: TestServer, localpart: string, devices: number): Promise<Client[]> {
  const instance = await server.server.host.defaultInstance()
  const first = await server.register(localpart, testPassword)
  const all = [first]
  while (all.length < devices) {
    const session = await loginWithPassword(instance, { user: first.userId, password: testPassword })
    all.push(new Client(() => server.url, session.accessToken, first.userId, session.deviceId))
  }
  return all
}

/** People who have done nothing yet, each with devices of these ids. */
export async function makePeople(instance: Instance, userIds: readonly string[], deviceIds: readonly string[]): Promise<void> {
  await command(instance, (decision) => {
    for (const userId of userIds) {
      const { key } = makeUser(decision, { userId, kind: 'person' })
      const device = { instance: instance.key, user: key, displayName: null, lastSeenTs: decision.now, lastSeenIp: null, createdAt: 0 }
      const without = { accessHash: null, refreshHash: null, oldHashes: null, position: key, syncedAt: null }
      for (const deviceId of deviceIds) decision.write('device', { ...device, ...without, deviceId })
    }
  })
}

export async function keyOf(instance: Instance, userId: string): Promise<number> {
  return (await instance.storage.first('user', { userId }))!.key
}

/** What waits for a device, oldest first. */
export async function inboxOf(instance: Instance, client: Pick<Client, 'userId' | 'deviceId'>) {
  const user = await keyOf(instance, client.userId)
  const rows = await readInbox(instance, user, client.deviceId, { after: null, until: instance.bus.published, limit: 20_000 })
  return rows.map(({ type, sender, content, position }) => ({ type, sender, content: JSON.parse(content), position }))
}

/** The contents alone. */
export async function contentsOf(instance: Instance, client: Pick<Client, 'userId' | 'deviceId'>): Promise<unknown[]> {
  return (await inboxOf(instance, client)).map(({ content }) => content)
}

let txn = 0

/** Sends, and says what was answered. */
export function sendTo(from: Pick<Client, 'put'>, messages: object, { type = 'm.room.encrypted', txnId = `t${txn++}` } = {}) {
  return from.put(`/sendToDevice/${type}/${txnId}`, { messages })
}
