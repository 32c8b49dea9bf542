/** The inbox, and what a client is told live. Subscriptions go on from a position, so a cut connection loses nothing. */
import { viewEvents } from '../../rooms/timeline.ts'
import { requireReadable } from '../../rooms/visibility.ts'
import { inboxCursor, type InboxRoom, readInbox, readInboxRooms, readInvitations } from '../../sync/inbox.ts'
import { watchInbox, watchReceipts, watchTimeline, watchTyping } from '../../sync/watch.ts'
import { userIdsOf } from '../../users/user-ids.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { Event } from './events.ts'
import { Receipt, Room } from './rooms.ts'

const InboxFilter = builder.inputType('InboxFilter', {
  description: 'Which rooms; all that are given must hold.',
  fields: (t) => ({
    unread: t.boolean({ description: 'with something unread, or marked as unread' }),
    tag: t.string({ description: 'for example m.favourite' }),
    direct: t.boolean({ description: 'direct chats' }),
    bridge: t.string({ description: 'id of a bridge: rooms that it made' }),
  }),
})

builder.queryFields((t) => ({
  inbox: t.connection({
    type: Room,
    description: 'The rooms that the viewer is in, newest activity first. Takes first (at most 1 000) and after. Errors: M_INVALID_PARAM.',
    args: { filter: t.arg({ type: InboxFilter }) },
    extensions: { puppet: false },
    resolve: async (_, { first, after, filter }, context) => {
      const { rooms, hasNextPage } = await readInbox(context.instance, requireActor(context), { first, after, filter })
      const edges = rooms.map((node) => ({ cursor: inboxCursor(node), node }))
      return {
        edges,
        pageInfo: { hasNextPage, hasPreviousPage: Boolean(after), startCursor: edges[0]?.cursor ?? null, endCursor: edges.at(-1)?.cursor ?? null },
      }
    },
  }),
  invitations: t.field({
    type: [Room],
    description: 'The rooms that the viewer is invited to, newest first.',
    extensions: { puppet: false },
    resolve: (_, __, context) => readInvitations(context.instance, requireActor(context)),
  }),
  position: t.field({
    type: 'Position',
    description: 'The newest position that can be read: where a subscription may begin.',
    extensions: { puppet: true },
    resolve: (_, __, context) => context.instance.bus.published,
  }),
}))

interface InboxUpdate {
  readonly position: number
  readonly rooms: readonly InboxRoom[]
  readonly all: boolean
}

const InboxChange = builder.objectRef<InboxUpdate>('InboxChange').implement({
  description: 'Rooms whose place, counts, state or account data may have changed, with their latest values.',
  fields: (t) => ({
    position: t.expose('position', { type: 'Position', description: 'Go on from here after a cut.' }),
    all: t.exposeBoolean('all', { description: 'The server does not remember that far back: these are the first 1 000 rooms, read everything anew.' }),
    rooms: t.field({ type: [Room], resolve: ({ rooms }) => rooms }),
  }),
})

const TypingChange = builder.objectRef<{ position: number; userIds: readonly string[] }>('TypingChange').implement({
  description: 'Everybody who types in a room now.',
  fields: (t) => ({
    position: t.expose('position', { type: 'Position' }),
    userIds: t.idList({ resolve: ({ userIds }) => [...userIds] }),
  }),
})

interface Receipts {
  readonly position: number
  readonly receipts: readonly { userId: string; eventId: string; ts: number; threadId: string | null; private: boolean }[]
}

const ReceiptChange = builder.objectRef<Receipts>('ReceiptChange').implement({
  description: 'Receipts that changed; the latest of each user, type and thread.',
  fields: (t) => ({
    position: t.expose('position', { type: 'Position' }),
    receipts: t.field({ type: [Receipt], resolve: ({ receipts }) => receipts }),
  }),
})

const After = 'a position that was read before; everything behind it comes. Left out: from now on'

builder.subscriptionFields((t) => ({
  timeline: t.field({
    type: Event,
    description:
      'Each event of a room exactly once and in order; its `position` is where to go on. Ends when the viewer has left. Errors: M_FORBIDDEN.',
    args: { roomId: t.arg.id({ required: true }), after: t.arg({ type: 'Position', description: After }) },
    extensions: { puppet: false },
    subscribe: async function* (_, { roomId, after }, context) {
      const actor = requireActor(context)
      for await (const row of watchTimeline(context.instance, actor, { roomId, after: after ?? null }, context.signal)) {
        const readable = await requireReadable(context.instance, actor, roomId)
        yield* await viewEvents(context.instance, actor, readable, [row])
      }
    },
    resolve: (event) => event,
  }),
  inbox: t.field({
    type: InboxChange,
    description: 'The rooms that changed, with their latest values: never an older one after a newer one.',
    args: { after: t.arg({ type: 'Position', description: After }) },
    extensions: { puppet: false },
    subscribe: async function* (_, { after }, context) {
      const actor = requireActor(context)
      for await (const { position, rooms } of watchInbox(context.instance, actor, { after: after ?? null }, context.signal)) {
        yield { position, all: rooms === null, rooms: await readInboxRooms(context.instance, actor, rooms) }
      }
    },
    resolve: (change) => change,
  }),
  typing: t.field({
    type: TypingChange,
    description: 'Who types in a room, whenever that changes. Errors: M_FORBIDDEN.',
    args: { roomId: t.arg.id({ required: true }), after: t.arg({ type: 'Position', description: After }) },
    extensions: { puppet: false },
    subscribe: (_, { roomId, after }, context) => watchTyping(context.instance, requireActor(context), { roomId, after: after ?? null }, context.signal),
    resolve: (change) => change,
  }),
  receipts: t.field({
    type: ReceiptChange,
    description: 'Receipts of a room, as they change. Private ones only to their owner. Errors: M_FORBIDDEN.',
    args: { roomId: t.arg.id({ required: true }), after: t.arg({ type: 'Position', description: After }) },
    extensions: { puppet: false },
    subscribe: async function* (_, { roomId, after }, context) {
      for await (const { position, receipts } of watchReceipts(context.instance, requireActor(context), { roomId, after: after ?? null }, context.signal)) {
        const ids = await userIdsOf(context.instance, receipts.map(({ user }) => user))
        yield {
          position,
          receipts: receipts.map((row) => ({
            userId: ids.get(row.user) ?? '',
            eventId: row.eventId,
            ts: row.ts,
            threadId: row.thread || null,
            private: row.type === 'm.read.private',
          })),
        }
      }
    },
    resolve: (change) => change,
  }),
}))
