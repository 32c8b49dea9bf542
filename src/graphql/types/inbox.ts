/** The inbox, and what a client is told live. Subscriptions go on from a position, so a cut connection loses nothing. */
import { type ShownReceipt, showReceipts } from '../../rooms/inbox-state.ts'
import { type InboxChange as Change, inboxCursor, readInbox, readInvitations } from '../../sync/inbox.ts'
import { type TypingChange as Typing, watchInbox, watchReceipts, watchTimeline, watchTyping } from '../../sync/watch.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { AccountDataType } from './account-data.ts'
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

const selfText = 'Anybody with a token; not for an appservice as the owner.'

builder.queryFields((t) => ({
  inbox: t.connection({
    type: Room,
    description: `The rooms that the viewer is in, newest activity first: at most 1 000 per page, usually 20. Takes \`first\` and \`after\`. ${selfText} Errors: M_INVALID_PARAM, also for \`last\` and \`before\`.`,
    args: { filter: t.arg({ type: InboxFilter }) },
    extensions: { puppet: false },
    resolve: async (_, args, context) => {
      const { rooms, hasNextPage } = await readInbox(context.instance, requireActor(context), args)
      const edges = rooms.map((node) => ({ cursor: inboxCursor(node), node }))
      return {
        edges,
        pageInfo: {
          hasNextPage,
          hasPreviousPage: Boolean(args.after),
          startCursor: edges[0]?.cursor ?? null,
          endCursor: edges.at(-1)?.cursor ?? null,
        },
      }
    },
  }),
  invitations: t.field({
    type: [Room],
    description: `The rooms that the viewer is invited to, newest first, at most 1 000; not by users whom the viewer ignores. ${selfText} Errors: M_FORBIDDEN for a user who is not made yet.`,
    extensions: { puppet: false },
    resolve: (_, __, context) => readInvitations(context.instance, requireActor(context)),
  }),
  position: t.field({
    type: 'Position',
    description:
      'The newest position that can be read. Read it before or together with what a subscription is to go on from: `after` then misses nothing. Needs no token. No errors.',
    extensions: { puppet: true },
    resolve: (_, __, context) => context.instance.bus.published,
  }),
}))

const InboxChange = builder.objectRef<Change>('InboxChange').implement({
  description:
    'What changed in the inbox, with its latest values. The same room may come again although nothing of it changed that the viewer can see.',
  fields: (t) => ({
    position: t.expose('position', { type: 'Position', description: '`after` of the next subscription.' }),
    rooms: t.field({
      type: [Room],
      description:
        'Rooms whose place, counts, state, receipts, typing or account data may have changed, newest activity first: joined ones, and invitations and knocks by their `membership`. At most 50; more come in a change of their own.',
      resolve: ({ rooms }) => rooms,
    }),
    left: t.idList({
      description: 'Ids of the rooms that the viewer is not in any more: left, banned from, forgotten or deleted.',
      resolve: ({ left }) => [...left],
    }),
    accountData: t.field({
      type: [AccountDataType],
      description: 'Global account data that changed, `m.direct` and `m.push_rules` among them.',
      resolve: ({ accountData }) => [...accountData],
    }),
  }),
})

const TypingChange = builder.objectRef<Typing>('TypingChange').implement({
  description: 'Everybody who types in a room now.',
  fields: (t) => ({
    position: t.expose('position', { type: 'Position', description: '`after` of the next subscription.' }),
    userIds: t.idList({ description: 'In the order in which they began.', resolve: ({ userIds }) => [...userIds] }),
  }),
})

const ReceiptChange = builder
  .objectRef<{ readonly position: number; readonly receipts: readonly ShownReceipt[] }>('ReceiptChange')
  .implement({
    description: 'Receipts that moved: each the latest of its user, thread and kind.',
    fields: (t) => ({
      position: t.expose('position', { type: 'Position', description: '`after` of the next subscription.' }),
      receipts: t.field({
        type: [Receipt],
        description: 'Oldest move first; at most 500, more come in a change of their own.',
        resolve: ({ receipts }) => receipts,
      }),
    }),
  })

const afterText = 'A position that was read before: everything behind it comes. Left out: from now on.'
const endText =
  'Errors, each of which ends it: M_UNKNOWN_TOKEN with the session, M_UNKNOWN with `retry_after_ms` when the homeserver closes (go on from the last position), M_FORBIDDEN'

builder.subscriptionFields((t) => ({
  timeline: t.field({
    type: Event,
    description: `Each event of a room exactly once and in order; its \`position\` is the \`after\` of the next subscription. Ends when the viewer has left. Whoever may read the room; not for an appservice as the owner. ${endText}.`,
    args: { roomId: t.arg.id({ required: true }), after: t.arg({ type: 'Position', description: afterText }) },
    extensions: { puppet: false },
    subscribe: (_, args, context) => watchTimeline(context.instance, requireActor(context), args, context.signal),
    resolve: (event) => event,
  }),
  inbox: t.field({
    type: InboxChange,
    description: `The list of rooms as it changes, never an older value after a newer one. ${selfText} ${endText} for a user who is not made yet.`,
    args: { after: t.arg({ type: 'Position', description: afterText }) },
    extensions: { puppet: false },
    subscribe: (_, args, context) => watchInbox(context.instance, requireActor(context), args, context.signal),
    resolve: (change) => change,
  }),
  typing: t.field({
    type: TypingChange,
    description: `Who types in a room, whenever that changes; without \`after\`, or where nobody knows what was typed then, first as it is. Ends when the viewer has left. Joined users; not for an appservice as the owner. ${endText}.`,
    args: { roomId: t.arg.id({ required: true }), after: t.arg({ type: 'Position', description: afterText }) },
    extensions: { puppet: false },
    subscribe: (_, args, context) => watchTyping(context.instance, requireActor(context), args, context.signal),
    resolve: (change) => change,
  }),
  receipts: t.field({
    type: ReceiptChange,
    description: `Receipts of a room as they move, never an older one after a newer one; private ones only to their owner. Ends when the viewer has left. Joined users; not for an appservice as the owner. ${endText}.`,
    args: { roomId: t.arg.id({ required: true }), after: t.arg({ type: 'Position', description: afterText }) },
    extensions: { puppet: false },
    subscribe: async function* (_, args, context) {
      for await (const { position, receipts } of watchReceipts(context.instance, requireActor(context), args, context.signal)) {
        yield { position, receipts: await showReceipts(context.instance, receipts) }
      }
    },
    resolve: (change) => change,
  }),
}))
