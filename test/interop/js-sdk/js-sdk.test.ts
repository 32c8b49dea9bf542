/** matrix-js-sdk, the client library under Element Web, against a real server. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  ClientEvent,
  createClient,
  EventType,
  type MatrixClient,
  type MatrixEvent,
  MsgType,
  type Room,
  RoomEvent,
  RoomMemberEvent,
} from 'matrix-js-sdk'
import { startServer, type TestServer } from '../../rig/server.ts'

/** The SDK tells every request. */
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => silent }

let server: TestServer
let alice: MatrixClient
let bob: MatrixClient

before(async () => {
  server = await startServer()
  alice = await login('owner')
  await server.register('bob', 'a password for bob')
  bob = await login('bob')
})

after(async () => {
  alice?.stopClient()
  bob?.stopClient()
  await server?.[Symbol.asyncDispose]()
})

/** Logs in by password as Element does, and waits for the first sync. */
async function login(localpart: string): Promise<MatrixClient> {
  const password = localpart === 'owner' ? server.server.firstAccounts!.owner.password : 'a password for bob'
  const visitor = createClient({ logger: silent, baseUrl: server.url })
  const answer = await visitor.loginRequest({ type: 'm.login.password', identifier: { type: 'm.id.user', user: localpart }, password })
  const client = createClient({
    logger: silent,
    baseUrl: server.url,
    accessToken: answer.access_token,
    userId: answer.user_id,
    deviceId: answer.device_id,
    timelineSupport: true,
  })
  await start(client)
  return client
}

async function start(client: MatrixClient): Promise<void> {
  const prepared = new Promise<void>((resolve, reject) => {
    const onSync = (state: string, _: unknown, data: unknown): void => {
      if (state === 'PREPARED') resolve()
      else if (state === 'ERROR') reject(new Error(`sync: ${JSON.stringify(data)}`))
      else return
      client.off(ClientEvent.Sync, onSync)
    }
    client.on(ClientEvent.Sync, onSync)
  })
  await client.startClient({ initialSyncLimit: 20, lazyLoadMembers: true, pollTimeout: 5_000 })
  await prepared
}

/** Waits until `ready` gives something. */
async function until<T>(what: string, ready: () => T | undefined | null | false, ms = 10_000): Promise<T> {
  const deadline = performance.now() + ms
  for (;;) {
    const value = ready()
    if (value) return value
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function bodies(room: Room): string[] {
  return bodiesOf(room.getLiveTimeline().getEvents())
}

/** Of all timelines that the client holds. */
function everyBody(room: Room): string[] {
  return bodiesOf(
    room
      .getUnfilteredTimelineSet()
      .getTimelines()
      .flatMap((timeline) => timeline.getEvents()),
  )
}

function bodiesOf(events: readonly MatrixEvent[]): string[] {
  return events.filter((event) => event.getType() === 'm.room.message').map((event) => event.getContent()['body'] as string)
}

async function sharedRoom(): Promise<[Room, Room]> {
  const { room_id: roomId } = await alice.createRoom({ name: 'Shared', invite: [bob.getUserId()!] })
  await until('the invitation', () => bob.getRoom(roomId)?.getMyMembership() === 'invite')
  await bob.joinRoom(roomId)
  const hers = await until('her room', () => alice.getRoom(roomId))
  const his = await until('his room', () => bob.getRoom(roomId)?.getMyMembership() === 'join' && bob.getRoom(roomId))
  return [hers, his]
}

describe('matrix-js-sdk', () => {
  test('logs in, syncs and knows who it is', async () => {
    assert.equal((await alice.whoami()).user_id, '@owner:example.com')
    assert.ok((await alice.getCapabilities())['m.room_versions'])
  })

  test('a room that one creates and the other joins has its name, both members and the invitation accepted', async () => {
    const [hers, his] = await sharedRoom()
    assert.equal(hers.name, 'Shared')
    await until('the name', () => his.name === 'Shared')
    await until('both members', () => his.getJoinedMemberCount() === 2 && hers.getJoinedMemberCount() === 2)
    assert.equal(his.currentState.getStateEvents('m.room.create', '')?.getSender(), alice.getUserId())
  })

  test('messages arrive once, with the local echo resolved', async () => {
    const [hers, his] = await sharedRoom()
    for (const text of ['one', 'two', 'three']) await alice.sendTextMessage(hers.roomId, text)
    await until('the messages', () => bodies(his).length === 3)
    assert.deepEqual(bodies(his), ['one', 'two', 'three'])
    await until('her echo', () => bodies(hers).length === 3)
    assert.deepEqual(bodies(hers), ['one', 'two', 'three'])
    assert.equal(
      hers.getPendingEvents === undefined
        ? 0
        : hers
            .getLiveTimeline()
            .getEvents()
            .filter((event) => event.status !== null).length,
      0,
    )
  })

  test('an edit, a reaction and a redaction are seen by the other', async () => {
    const [hers, his] = await sharedRoom()
    const { event_id: eventId } = await alice.sendTextMessage(hers.roomId, 'tpyo')
    await alice.sendEvent(hers.roomId, EventType.RoomMessage, {
      msgtype: MsgType.Text,
      body: '* typo',
      'm.new_content': { msgtype: MsgType.Text, body: 'typo' },
      'm.relates_to': { rel_type: 'm.replace', event_id: eventId },
    } as never)
    const original = await until('the edit', () => his.findEventById(eventId)?.replacingEvent() && his.findEventById(eventId))
    assert.equal(original.getContent()['body'], 'typo')
    await bob.sendEvent(his.roomId, EventType.Reaction, {
      'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key: '👍' },
    } as never)
    await until(
      'the reaction',
      () => hers.relations.getChildEventsForEvent(eventId, 'm.annotation', 'm.reaction')?.getSortedAnnotationsByKey()?.length === 1,
    )
    await alice.redactEvent(hers.roomId, eventId)
    await until('the redaction', () => his.findEventById(eventId)?.isRedacted())
  })

  test('reading clears the unread count, and the receipt is seen by the other', async () => {
    const [hers, his] = await sharedRoom()
    await alice.sendTextMessage(hers.roomId, 'read me')
    await until('the count', () => his.getUnreadNotificationCount() === 1)
    const event = his.getLiveTimeline().getEvents().at(-1)!
    await bob.sendReadReceipt(event)
    await until('no count', () => his.getUnreadNotificationCount() === 0)
    await until('the receipt', () => hers.getEventReadUpTo(bob.getUserId()!) === event.getId())
  })

  test('typing begins and ends', async () => {
    const [hers, his] = await sharedRoom()
    const seen: boolean[] = []
    bob.on(RoomMemberEvent.Typing, (_event, member) => {
      if (member.userId === alice.getUserId() && member.roomId === his.roomId) seen.push(member.typing)
    })
    await alice.sendTyping(hers.roomId, true, 20_000)
    await until('typing', () => seen.at(-1) === true)
    await alice.sendTyping(hers.roomId, false, 0)
    await until('no typing', () => seen.at(-1) === false)
  })

  test('tags and account data come back by sync', async () => {
    const [hers] = await sharedRoom()
    await alice.setRoomTag(hers.roomId, 'm.favourite', { order: 0.5 })
    await until('the tag', () => hers.tags['m.favourite'])
    await alice.setAccountData('org.example.setting' as never, { on: true } as never)
    assert.deepEqual(alice.getAccountData('org.example.setting' as never)?.getContent(), { on: true })
  })

  test('an upload can be downloaded, and its thumbnail too', async () => {
    const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64')
    const { content_uri: uri } = await alice.uploadContent(png, { name: 'dot.png', type: 'image/png' })
    const url = alice.mxcUrlToHttp(uri, undefined, undefined, undefined, false, true, true)!
    const reply = await fetch(url, { headers: { authorization: `Bearer ${alice.getAccessToken()}` } })
    assert.equal(reply.status, 200)
    assert.deepEqual(Buffer.from(await reply.arrayBuffer()), png)
  })

  test('history is paginated back to the creation of the room', async () => {
    const [hers, his] = await sharedRoom()
    for (let i = 0; i < 60; i++) await alice.sendTextMessage(hers.roomId, `message ${i}`)
    const late = createClient({
      logger: silent,
      baseUrl: server.url,
      accessToken: bob.getAccessToken()!,
      userId: bob.getUserId()!,
      timelineSupport: true,
    })
    await start(late)
    try {
      const room = late.getRoom(his.roomId)!
      while (room.oldState.paginationToken !== null) await late.scrollback(room, 30)
      assert.deepEqual(
        bodies(room),
        Array.from({ length: 60 }, (_, i) => `message ${i}`),
      )
      assert.equal(room.getLiveTimeline().getEvents()[0]!.getType(), 'm.room.create')
    } finally {
      late.stopClient()
    }
  })

  test('a gap of 500 events is filled without loss or repeat', async () => {
    const [hers, his] = await sharedRoom()
    let online = true
    const fetchFn: typeof fetch = (...args) => (online ? fetch(...args) : Promise.reject(new TypeError('no network')))
    const away = createClient({
      logger: silent,
      fetchFn,
      baseUrl: server.url,
      accessToken: bob.getAccessToken()!,
      userId: bob.getUserId()!,
      timelineSupport: true,
    })
    await start(away)
    const room = away.getRoom(his.roomId)!
    await alice.sendTextMessage(hers.roomId, 'before')
    await until('before', () => bodies(room).includes('before'))
    online = false
    const sender = server.client(alice.getAccessToken()!)
    for (let i = 0; i < 500; i += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, k) => sender.send(hers.roomId, `gap ${i + k}`)))
    }
    const reset = new Promise<void>((resolve) => room.once(RoomEvent.TimelineReset, () => resolve()))
    online = true
    away.retryImmediately()
    await reset
    const live = await until('the end', () => bodies(room).includes('gap 499') && room.getLiveTimeline())
    for (let page = 0; page < 10 && new Set(everyBody(room)).size < 501; page++)
      await away.paginateEventTimeline(live, { backwards: true, limit: 100 })
    away.stopClient()
    // The poll that was under way brought the first of them, which stay where they were.
    const gap = everyBody(room).filter((body) => body.startsWith('gap'))
    assert.equal(new Set(gap).size, 500)
    assert.equal(gap.length, 500)
  })

  test('a restart in the middle loses nothing', async () => {
    const [hers, his] = await sharedRoom()
    await alice.sendTextMessage(hers.roomId, 'before the restart')
    await until('before', () => bodies(his).includes('before the restart'))
    await server.restart()
    await alice.sendTextMessage(hers.roomId, 'after the restart')
    await until('after', () => bodies(his).includes('after the restart'), 30_000)
    assert.deepEqual(bodies(his), ['before the restart', 'after the restart'])
    const ids = his
      .getLiveTimeline()
      .getEvents()
      .map((event: MatrixEvent) => event.getId())
    assert.equal(new Set(ids).size, ids.length)
  })
})
