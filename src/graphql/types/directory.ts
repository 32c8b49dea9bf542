/** Aliases and the public room directory. */
import { orMade } from '../../appservices/queries.ts'
import { createAlias, deleteAlias, isRoomListed, roomOfAlias, setRoomListed } from '../../rooms/directory.ts'
import { type PublicRoom, type PublicRoomPage, publicRooms, roomAliases } from '../../rooms/public-rooms.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'

const AliasTarget = builder.objectRef<{ readonly roomId: string; readonly servers: readonly string[] }>('AliasTarget').implement({
  description: 'The room that an alias points to.',
  fields: (t) => ({
    roomId: t.exposeID('roomId'),
    servers: t.stringList({ description: 'Servers that know it.', resolve: (target) => [...target.servers] }),
  }),
})

const PublicRoomType = builder.objectRef<PublicRoom>('PublicRoom').implement({
  description: 'What anybody may know of a listed room.',
  fields: (t) => ({
    roomId: t.exposeID('roomId'),
    name: t.exposeString('name', { nullable: true }),
    topic: t.exposeString('topic', { nullable: true }),
    canonicalAlias: t.exposeString('canonicalAlias', { nullable: true }),
    avatarUrl: t.exposeString('avatarUrl', { nullable: true, description: 'An mxc:// URI.' }),
    joinedMemberCount: t.int({ resolve: (room) => room.joinedMemberCount ?? 0 }),
    joinRule: t.exposeString('joinRule', { description: '`public`, `invite`, `knock`, `restricted` or `knock_restricted`.' }),
    roomType: t.exposeString('roomType', { nullable: true, description: '`m.space` for a space.' }),
    worldReadable: t.boolean({
      description: 'It can be read without joining.',
      resolve: (room) => room.historyVisibility === 'world_readable',
    }),
    guestCanJoin: t.exposeBoolean('guestCanJoin'),
  }),
})

const PublicRoomPageType = builder.objectRef<PublicRoomPage>('PublicRoomPage').implement({
  fields: (t) => ({
    rooms: t.field({ type: [PublicRoomType], resolve: (page) => [...page.rooms] }),
    nextBatch: t.exposeString('nextBatch', { nullable: true, description: '`since` of the next page; null at the end.' }),
    prevBatch: t.exposeString('prevBatch', { nullable: true }),
    total: t.exposeInt('total', { description: 'Rooms found, on all pages.' }),
  }),
})

builder.queryFields((t) => ({
  publicRooms: t.field({
    type: PublicRoomPageType,
    description:
      'The listed rooms, those with the most members first. Needs no token. Errors: M_NOT_FOUND for another server, M_INVALID_PARAM for a bad `since`.',
    args: {
      limit: t.arg.int({ description: 'at most 500' }),
      since: t.arg.string({ description: 'nextBatch or prevBatch of an earlier page' }),
      searchTerm: t.arg.string({ description: 'part of a name, a topic or an alias' }),
      roomTypes: t.arg({ type: 'JSON', description: 'a list of room types, null among them for rooms without one' }),
      server: t.arg.string({ description: 'this one, when left out' }),
    },
    extensions: { puppet: true },
    resolve: (_, args, context) => publicRooms(context.instance, args),
  }),
  roomOfAlias: t.field({
    type: AliasTarget,
    description: 'Needs no token. With one, a bridge is asked for an alias of its namespace that leads nowhere yet. Errors: M_NOT_FOUND.',
    args: { alias: t.arg.string({ required: true }) },
    extensions: { puppet: true },
    resolve: (_, { alias }, context) => orMade(context, { aliases: [alias] }, () => roomOfAlias(context.instance, alias)),
  }),
  roomAliases: t.stringList({
    description: 'The aliases of a room, for whoever may read it. Errors: M_FORBIDDEN.',
    args: { roomId: t.arg.id({ required: true }) },
    extensions: { puppet: true },
    resolve: (_, { roomId }, context) => roomAliases(context.instance, requireActor(context), roomId),
  }),
  roomListed: t.boolean({
    description: 'Whether a room stands in the public room directory. Needs no token. Errors: M_NOT_FOUND.',
    args: { roomId: t.arg.id({ required: true }) },
    extensions: { puppet: true },
    resolve: (_, { roomId }, context) => isRoomListed(context.instance, roomId),
  }),
}))

builder.mutationFields((t) => ({
  createAlias: t.boolean({
    description:
      'Points an alias to a room. Joined users. Not for an appservice as the owner. Errors: M_UNKNOWN (409) when it is taken, M_EXCLUSIVE in a namespace of an appservice, M_INVALID_PARAM, M_FORBIDDEN.',
    args: { alias: t.arg.string({ required: true }), roomId: t.arg.id({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, args, context) => createAlias(context.instance, requireActor(context), args),
  }),
  deleteAlias: t.boolean({
    description:
      'Its maker, those who may set the canonical alias of the room, and the administrator. Not for an appservice as the owner. Errors: M_NOT_FOUND, M_FORBIDDEN.',
    args: { alias: t.arg.string({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, { alias }, context) => deleteAlias(context.instance, requireActor(context), alias),
  }),
  setRoomListed: t.boolean({
    description:
      'Lists a room in the public room directory, or takes it out. Those who may set its canonical alias. Not for an appservice as the owner. Errors: M_FORBIDDEN.',
    args: { roomId: t.arg.id({ required: true }), listed: t.arg.boolean({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, args, context) => setRoomListed(context.instance, requireActor(context), args),
  }),
}))
