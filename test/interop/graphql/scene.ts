/** A server, and two people who know it by GraphQL, each with the Matrix face of the same session beside it. */
import assert from 'node:assert/strict'
import { type Client, startServer, type TestServer } from '../../rig/server.ts'
import { GraphqlClient, GraphqlError } from './client.ts'

export interface Scene extends AsyncDisposable {
  readonly server: TestServer
  readonly alice: GraphqlClient
  readonly bob: GraphqlClient
  readonly restAlice: Client
  readonly restBob: Client
  /** the id of a room that both have joined */
  sharedRoom(name?: string): Promise<string>
}

export const createRoom = 'mutation ($input: CreateRoomInput!) { createRoom(input: $input) { roomId room { title membership } } }'
export const joinRoom = 'mutation ($room: String!) { joinRoom(roomIdOrAlias: $room) { roomId room { name joinedMemberCount } } }'

// biome-ignore lint/suspicious/noExplicitAny: whatever the document asked for
export type Answer = any

export async function openScene(): Promise<Scene> {
  const server = await startServer()
  const alice = await GraphqlClient.login(() => server.url, 'owner', server.server.firstAccounts!.owner.password)
  await server.register('bob', 'a password for bob')
  const bob = await GraphqlClient.login(() => server.url, '@bob:example.com', 'a password for bob')
  return {
    server,
    alice,
    bob,
    restAlice: server.client(alice.token, alice.userId),
    restBob: server.client(bob.token, bob.userId),
    async sharedRoom(name = 'Shared') {
      const { roomId } = (await alice.ask(createRoom, { input: { name, invite: [bob.userId] } })).createRoom
      await bob.ask(joinRoom, { room: roomId })
      return roomId
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** The errcode of a request that must fail. */
export async function refused(request: Promise<unknown>): Promise<string> {
  const error = await request.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof GraphqlError, String(error))
  return error.errcode
}
