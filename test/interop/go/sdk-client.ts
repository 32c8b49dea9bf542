/** A person at matrix-js-sdk, and what the person sees. */
import {
  ClientEvent,
  createClient,
  EventStatus,
  EventTimeline,
  EventType,
  type MatrixClient,
  type MatrixEvent,
  type Room,
} from 'matrix-js-sdk'
import { logger } from 'matrix-js-sdk/lib/logger.js'
import { ask } from './bridge-process.ts'

/** The SDK tells every request to the logger that a client was given, and the rest to its own. */
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => silent }
Object.assign(logger, silent, { log() {}, methodFactory: () => () => {} })

// The SDK lets the time limits of its requests run on after the answer, which would keep the process for 85 seconds after the last sync.
const { setTimeout } = globalThis
globalThis.setTimeout = Object.assign((...given: Parameters<typeof setTimeout>) => {
  const timer = setTimeout(...given)
  return (given[1] ?? 0) >= 15_000 ? timer.unref() : timer
}, setTimeout)

/** Logged in by password, first sync done. */
export async function openClient(baseUrl: string, account: { userId: string; password: string }): Promise<MatrixClient> {
  const visitor = createClient({ logger: silent, baseUrl })
  const user = { type: 'm.id.user', user: account.userId }
  const answer = await visitor.loginRequest({ type: 'm.login.password', identifier: user, password: account.password })
  const session = { accessToken: answer.access_token, userId: answer.user_id, deviceId: answer.device_id }
  const client = createClient({ logger: silent, baseUrl, ...session, timelineSupport: true })
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
  await prepared.catch((error: unknown) => {
    client.stopClient()
    throw error
  })
  return client
}

/** Waits until `ready` gives something, and says what it waited for when it does not. */
export async function until<T>(what: string, ready: () => T | Promise<T>, ms = 15_000): Promise<NonNullable<T>> {
  const deadline = performance.now() + ms
  for (;;) {
    const value = await ready()
    if (value) return value
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Pages back to the room's first event. */
export async function readWhole(client: MatrixClient, room: Room): Promise<void> {
  const live = room.getLiveTimeline()
  while (live.getPaginationToken(EventTimeline.BACKWARDS)) await client.paginateEventTimeline(live, { backwards: true, limit: 100 })
}

/** What the room's messages say, oldest first, each with edits applied; those of nobody but `sender` when it is given. */
export function texts(room: Room, sender?: string): string[] {
  return messages(room)
    .filter((event) => sender === undefined || event.getSender() === sender)
    .map((event) => event.getContent()['body'] as string)
}

export function messages(room: Room): MatrixEvent[] {
  const events = room.getLiveTimeline().getEvents()
  return events.filter(
    (event) => event.getType() === 'm.room.message' && event.status === null && !event.isRedacted() && !event.isRelation('m.replace'),
  )
}

/** The newest `com.beeper.message_send_status` of an event. */
export function sendStatus(room: Room, eventId: string): string | undefined {
  const ofType = room
    .getLiveTimeline()
    .getEvents()
    .filter((event) => event.getType() === 'com.beeper.message_send_status')
  return ofType.findLast((event) => event.getContent()['m.relates_to']?.event_id === eventId)?.getContent()['status']
}

/** Waits for the bridge's word that the other side has it, or refused it. */
export function whenSettled(room: Room, eventId: string): Promise<string> {
  return until(`the status of ${eventId} in ${room.name}`, () => sendStatus(room, eventId))
}

/** Where a user has said to have read up to; that somebody wrote says nothing. */
export function readUpTo(room: Room, userId: string): string | undefined {
  return room.getReadReceiptForUserId(userId, true)?.eventId
}

/** Who reacts to an event with what. */
export function reactions(room: Room, eventId: string): [sender: string, key: string][] {
  const relations = room.relations.getChildEventsForEvent(eventId, 'm.annotation', 'm.reaction')?.getRelations() ?? []
  return relations.filter((event) => !event.isRedacted()).map((event) => [event.getSender()!, event.getRelation()!.key!])
}

/** The id of the reaction. */
export async function react(client: MatrixClient, roomId: string, eventId: string, key: string): Promise<string> {
  const content = { 'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key } }
  return (await client.sendEvent(roomId, EventType.Reaction, content as never)).event_id
}

/** Says it as Element does: what was not sent is sent again, under the same transaction id. */
export async function insist(client: MatrixClient, room: Room, text: string): Promise<void> {
  const unsent = () =>
    room
      .getLiveTimeline()
      .getEvents()
      .find((event) => event.status === EventStatus.NOT_SENT)
  await client.sendTextMessage(room.roomId, text).catch(async () => {
    for (let event = unsent(); event; event = unsent()) {
      await new Promise((resolve) => setTimeout(resolve, 250))
      await client.resendEvent(event, room).catch(() => undefined)
    }
  })
}

/** What GraphQL answers the same person. */
export async function query(client: MatrixClient, text: string, variables: Record<string, string> = {}) {
  const headers = { authorization: `Bearer ${client.getAccessToken()}`, 'content-type': 'application/json' }
  return (await ask(`${client.baseUrl}/graphql`, 'POST', { query: text, variables }, headers)).data
}
