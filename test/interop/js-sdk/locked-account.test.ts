/** matrix-js-sdk while an administrator locks the account: it keeps its session and its keys, and goes on when the lock is off. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HttpApiEvent } from 'matrix-js-sdk'
import { startServer } from '../../rig/server.ts'
import { setLocked } from '../../users/moderation-rig.ts'
import { until } from '../go/sdk-client.ts'
import { EncryptedClient } from './encrypted-client.ts'

test('a client of a locked person stays logged in, and reads what was encrypted for it meanwhile when the lock is off', async () => {
  await using server = await startServer()
  const { userId, password } = server.server.firstAccounts!.owner
  await server.register('bob', 'a password for bob')
  const clients: EncryptedClient[] = []
  const login = async (account: { userId: string; password: string }) => {
    const client = await EncryptedClient.login(server.url, account)
    clients.push(client)
    return client
  }
  try {
    const alice = await login({ userId, password })
    const bob = await login({ userId: '@bob:example.com', password: 'a password for bob' })
    const roomId = await alice.encryptedRoom([bob])
    await alice.say(roomId, 'before')
    await bob.reads(roomId, 'before')
    let loggedOut = 0
    bob.client.on(HttpApiEvent.SessionLoggedOut, () => loggedOut++)
    await setLocked(server, bob, true)
    await until('a refused sync', () => bob.client.getSyncState() !== 'SYNCING')
    await assert.rejects(bob.client.whoami(), { errcode: 'M_USER_LOCKED', httpStatus: 401 })
    // A device that has never heard of bob asks for his keys only now.
    const tablet = await login({ userId, password })
    await tablet.say(roomId, 'while you were away')
    await setLocked(server, bob, false)
    await bob.reads(roomId, 'while you were away')
    assert.equal(loggedOut, 0)
    await bob.say(roomId, 'back again')
    await alice.reads(roomId, 'back again')
  } finally {
    for (const client of clients) client.stop()
  }
})
