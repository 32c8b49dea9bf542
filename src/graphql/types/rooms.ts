/** Rooms as a list of them shows each, and what is in them. */
import { readDirectRooms, readReceipts, readUnread, type ShownReceipt, type Unread, type UnreadCount } from '../../rooms/inbox-state.ts'
import { joinedRooms, type Member, memberCursor, memberList } from '../../rooms/members.ts'
import { readRoomsAccountData, tagsAmong } from '../../rooms/room-account-data.ts'
import { hasLeft, type RoomOverview, readOverviewAt, readOverviews, readTitles, viewRoom } from '../../rooms/room-overview.ts'
import { cursorOf, type Newest, readTimeline, viewNewestEvents, viewState } from '../../rooms/timeline.ts'
import { typingIn } from '../../rooms/typing.ts'
import type { Readable } from '../../rooms/visibility.ts'
import { count, readInTurn } from '../answer-size.ts'
import { builder } from '../builder.ts'
import { type Context, requireActor } from '../context.ts'
import { loader } from '../loader.ts'
import { AccountDataType } from './account-data.ts'
import { Event } from './events.ts'
import { Membership } from './membership.ts'
import { loadUser, loadUserByKey, User } from './users.ts'

const loadOverview = loader((context, rooms: readonly number[]) => readOverviews(context.instance, rooms))
const loadUnread = loader((context, rooms: readonly number[]) => readUnread(context.instance, requireActor(context).user!, rooms))
const loadAccountData = loader((context, rooms: readonly number[]) => readRoomsAccountData(context.instance, requireActor(context), rooms))
/** Rooms whose newest events are read together. */
const newestTogether = 100

const loadNewest = loader(async (context, rooms: readonly number[]) => {
  const newest: Newest[] = []
  for (let i = 0; i < rooms.length; i += newestTogether) {
    const some = await viewNewestEvents(context.instance, requireActor(context), rooms.slice(i, i + newestTogether))
    for (const { event } of some) if (event) count(context, event.text)
    newest.push(...some)
  }
  return newest
})
const loadDirect = loader((context, users: readonly number[]) => Promise.all(users.map((user) => readDirectRooms(context.instance, user))))
const loadTitle = loader(async (context, rooms: readonly number[]) =>
  readTitles(context.instance, requireActor(context).user!, await Promise.all(rooms.map((room) => loadOverview(context, room)))),
)

function overview(room: Readable, context: Context): Promise<RoomOverview> {
  return hasLeft(room) ? readOverviewAt(context.instance, room) : loadOverview(context, room.room.key)
}

const JoinRule = 'Who may join: `public`, `invite`, `knock`, `restricted` or `knock_restricted`.'

const UnreadCountType = builder.objectRef<UnreadCount & { readonly threadId: string }>('ThreadUnread').implement({
  description: 'What is unread in a thread.',
  fields: (t) => ({
    threadId: t.exposeID('threadId', { description: 'Event id of its root.' }),
    notificationCount: t.exposeInt('notify'),
    highlightCount: t.exposeInt('highlight'),
  }),
})

const UnreadType = builder.objectRef<Unread>('Unread').implement({
  description: 'What the viewer has not read in a room, by the viewer’s push rules.',
  fields: (t) => ({
    notificationCount: t.exposeInt('notify', { description: 'Events, threads included.' }),
    highlightCount: t.exposeInt('highlight', { description: 'Those of them that want special attention, such as mentions.' }),
    threads: t.field({ type: [UnreadCountType], resolve: (unread) => [...unread.threads] }),
    marked: t.exposeBoolean('marked', { description: 'The viewer marked the room as unread.' }),
  }),
})

const MemberType = builder.objectRef<Member>('Member').implement({
  description: 'Somebody in a room, with the name and picture shown there.',
  fields: (t) => ({
    userId: t.exposeID('userId'),
    user: t.field({ type: User, nullable: true, resolve: (member, _, context) => loadUserByKey(context, member.user) }),
    membership: t.field({ type: Membership, resolve: (member) => member.membership as 'join' }),
    displayName: t.exposeString('displayName', { nullable: true }),
    avatarUrl: t.exposeString('avatarUrl', { nullable: true, description: 'An mxc:// URI.' }),
  }),
})

export const Receipt = builder.objectRef<ShownReceipt>('Receipt').implement({
  description: 'How far somebody has read.',
  fields: (t) => ({
    userId: t.exposeID('userId'),
    user: t.field({ type: User, nullable: true, resolve: (receipt, _, context) => loadUser(context, receipt.userId) }),
    eventId: t.exposeID('eventId', { description: 'The last event read.' }),
    ts: t.expose('ts', { type: 'Timestamp' }),
    threadId: t.exposeID('threadId', { nullable: true, description: '`main` or the root of a thread; null: of all threads.' }),
    private: t.exposeBoolean('private', { description: "The viewer's own, which nobody else sees." }),
  }),
})

export const Room = builder.objectRef<Readable>('Room').implement({
  description: 'A room as the viewer may see it: now, or as it was when the viewer left.',
  fields: (t) => ({
    roomId: t.id({ resolve: ({ room }) => room.roomId }),
    title: t.string({
      description: 'What to call it: its name, its alias, or those who are in it.',
      resolve: ({ room }, _, context) => loadTitle(context, room.key),
    }),
    name: t.string({
      nullable: true,
      description: 'Null for a room that has none, as most direct chats.',
      resolve: async (room, _, context) => (await overview(room, context)).name,
    }),
    topic: t.string({ nullable: true, resolve: async (room, _, context) => (await overview(room, context)).topic }),
    avatarUrl: t.string({
      nullable: true,
      description: 'An mxc:// URI.',
      resolve: async (room, _, context) => (await overview(room, context)).avatarUrl,
    }),
    canonicalAlias: t.string({ nullable: true, resolve: async (room, _, context) => (await overview(room, context)).canonicalAlias }),
    roomType: t.string({
      nullable: true,
      description: '`m.space` for a space, null for an ordinary room.',
      resolve: async (room, _, context) => (await overview(room, context)).roomType,
    }),
    joinRule: t.string({ description: JoinRule, resolve: async (room, _, context) => (await overview(room, context)).joinRule }),
    historyVisibility: t.string({
      description: '`world_readable`, `shared`, `invited` or `joined`.',
      resolve: async (room, _, context) => (await overview(room, context)).historyVisibility,
    }),
    encrypted: t.boolean({ resolve: async (room, _, context) => (await overview(room, context)).encrypted }),
    version: t.string({ description: 'Room version.', resolve: ({ room }) => room.version }),
    createdAt: t.field({ type: 'Timestamp', resolve: ({ room }) => room.createdAt }),
    joinedMemberCount: t.int({
      nullable: true,
      description: 'Null when the viewer has left.',
      resolve: async (room, _, context) => (await overview(room, context)).joinedMemberCount,
    }),
    invitedMemberCount: t.int({
      nullable: true,
      description: 'Null when the viewer has left.',
      resolve: async (room, _, context) => (await overview(room, context)).invitedMemberCount,
    }),
    lowest: t.field({
      type: 'Position',
      description:
        'Position of the first event of what a bridge prepended, 0 while there is none. A lower one than before: `timeline` has more to page back to, and may say `hasPreviousPage` where it did not.',
      resolve: ({ room }) => room.lowest,
    }),
    membership: t.field({
      type: Membership,
      nullable: true,
      description: "The viewer's; null for who was never in it.",
      resolve: ({ membership }) => (membership?.membership ?? null) as 'join' | null,
    }),
    activity: t.field({
      type: 'Position',
      description:
        'Position of its newest event, by which the inbox is ordered; of the invitation, or of the end of the viewer’s stay, while not in it.',
      resolve: async (room, _, context) =>
        room.membership?.membership === 'join' ? (await loadNewest(context, room.room.key)).order : room.upTo,
    }),
    newestEvent: t.field({
      type: Event,
      nullable: true,
      description:
        'What a list of rooms shows below the title. Null while the viewer is not in the room, and when an ignored user sent it.',
      resolve: async ({ room, membership }, _, context) =>
        membership?.membership === 'join' ? (await loadNewest(context, room.key)).event : null,
    }),
    isDirect: t.boolean({
      description: 'One of the direct chats of the viewer (`m.direct`).',
      resolve: async ({ room, user }, _, context) => (await loadDirect(context, user)).has(room.roomId),
    }),
    unread: t.field({ type: UnreadType, resolve: ({ room }, _, context) => loadUnread(context, room.key) }),
    tags: t.field({
      type: 'JsonObject',
      description: "The viewer's: name → content, which may hold `order`.",
      resolve: async ({ room }, _, context) => tagsAmong(await loadAccountData(context, room.key)),
    }),
    accountData: t.field({
      type: [AccountDataType],
      description: 'What the viewer keeps about the room, tags and the fully-read marker included.',
      resolve: ({ room }, _, context) => loadAccountData(context, room.key),
    }),
    typing: t.idList({
      description: 'Ids of the users who are typing at this moment.',
      resolve: (room, _, context) => (hasLeft(room) ? [] : [...typingIn(context.instance, room.room.key)]),
    }),
    receipts: t.field({
      type: [Receipt],
      description: 'The newest first, at most 1 000.',
      resolve: (room, _, context) => readReceipts(context.instance, room),
    }),
    state: t.field({
      type: Event,
      nullable: true,
      description: 'One piece of state; null when the room has none such. Errors: M_FORBIDDEN for who is only invited.',
      args: { type: t.arg.string({ required: true }), stateKey: t.arg.string({ defaultValue: '' }) },
      resolve: ({ room }, { type, stateKey }, context) =>
        viewState(context.instance, requireActor(context), { roomId: room.roomId, type, stateKey: stateKey ?? '' }),
    }),
    members: t.connection({
      type: MemberType,
      description:
        'In no order that means anything; at most 1 000 per page. Takes `first` and `after`. Errors: M_FORBIDDEN for who is not in the room, M_INVALID_PARAM, also for `last` and `before`.',
      args: { memberships: t.arg({ type: [Membership], description: 'only these; usually JOIN' }) },
      resolve: async (room, args, context) => {
        const { members, next } = await memberList(context.instance, room, args)
        return connection(members, memberCursor, { hasPreviousPage: Boolean(args.after), hasNextPage: next !== null })
      },
    }),
    timeline: t.connection({
      type: Event,
      description:
        'Events, the oldest first: the newest 20 unless `first` and `after` (what followed) or `last` and `before` (what came before) say otherwise; at most 1 000 per page, and fewer of large events: about 2 MB. Cursors are tokens of the stream and stay valid. Errors: M_FORBIDDEN for who is only invited, M_INVALID_PARAM, M_TOO_LARGE when the answer holds 32 MB of JSON already.',
      resolve: async ({ room }, args, context) => {
        const { events, ...pages } = await readInTurn(context, () =>
          readTimeline(context.instance, requireActor(context), room.roomId, args),
        )
        return connection(events, cursorOf, pages)
      },
    }),
  }),
})

/** A page in the shape that Relay wants. */
function connection<T>(
  nodes: readonly T[],
  cursor: (node: T) => string,
  pages: {
    readonly hasPreviousPage: boolean
    readonly hasNextPage: boolean
    readonly startCursor?: string | null
    readonly endCursor?: string | null
  },
) {
  const edges = nodes.map((node) => ({ cursor: cursor(node), node }))
  return { edges, pageInfo: { startCursor: edges[0]?.cursor ?? null, endCursor: edges.at(-1)?.cursor ?? null, ...pages } }
}

builder.queryFields((t) => ({
  room: t.field({
    type: Room,
    description:
      'A room that the viewer is or was in, is invited to, or may read because it is world_readable. Errors: M_FORBIDDEN, for an unknown room as well. An appservice as the owner: rooms with a user of it.',
    args: { roomId: t.arg.id({ required: true }) },
    extensions: { puppet: true },
    resolve: (_, { roomId }, context) => viewRoom(context.instance, requireActor(context), roomId),
  }),
  joinedRooms: t.idList({
    description: 'Ids of the rooms that the viewer is joined to. Anybody with a token. Errors: M_FORBIDDEN for a user who is not made yet.',
    extensions: { puppet: true },
    resolve: (_, __, context) => joinedRooms(context.instance, requireActor(context)),
  }),
}))
