/** Making rooms, coming and going. */
import { orMade } from '../../appservices/queries.ts'
import { type CreateRoom, createRoom } from '../../rooms/create.ts'
import { banUser, forgetRoom, inviteUser, joinRoom, kickUser, knockRoom, leaveRoom, unbanUser } from '../../rooms/membership.ts'
import { viewRoom } from '../../rooms/room-overview.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { Room } from './rooms.ts'

const RoomPreset = builder.enumType('RoomPreset', {
  description: 'https://spec.matrix.org/v1.19/client-server-api/#creation',
  values: {
    PRIVATE_CHAT: { value: 'private_chat', description: 'By invitation.' },
    TRUSTED_PRIVATE_CHAT: { value: 'trusted_private_chat', description: 'By invitation; the invited get the power level of the creator.' },
    PUBLIC_CHAT: { value: 'public_chat', description: 'Anybody may join.' },
  } as const,
})

const InitialStateInput = builder.inputType('InitialStateInput', {
  fields: (t) => ({
    type: t.string({ required: true }),
    stateKey: t.string({ required: true, defaultValue: '' }),
    content: t.field({ type: 'EventContent', required: true }),
  }),
})

export const CreateRoomInput = builder.inputType('CreateRoomInput', {
  fields: (t) => ({
    preset: t.field({ type: RoomPreset, description: 'PUBLIC_CHAT for a listed room, else PRIVATE_CHAT' }),
    listed: t.boolean({ description: 'whether it stands in the public room directory' }),
    roomVersion: t.string({ description: '9, 10 or 11; usually 11' }),
    name: t.string(),
    topic: t.string(),
    aliasName: t.string({ description: 'localpart of an alias, on the domain of who creates it' }),
    isDirect: t.boolean({ description: 'the invited learn that it is a direct chat' }),
    invite: t.idList({ description: "user ids; ghosts of the caller's bridge are made if need be" }),
    initialState: t.field({ type: [InitialStateInput] }),
    creationContent: t.field({ type: 'EventContent', description: 'such as `{"type": "m.space"}`' }),
    powerLevelOverride: t.field({ type: 'EventContent', description: 'replaces keys of the usual power levels' }),
    initialMembers: t.idList({
      description:
        "joined from the start: users of the caller's bridge and the owner. Anybody else is invited, unless joined to one of the rooms that this one replaces; appservices only",
    }),
    autoJoinInvites: t.boolean({ description: 'the invited are like `initialMembers`; appservices only' }),
    roomId: t.id({ description: 'its id; appservices only' }),
    ts: t.field({ type: 'Timestamp', description: 'when it was made; appservices only' }),
  }),
})

export const RoomReference = builder.objectRef<{ readonly roomId: string }>('RoomReference').implement({
  fields: (t) => ({
    roomId: t.exposeID('roomId'),
    room: t.field({
      type: Room,
      nullable: true,
      description: 'Null, with an error beside the data, when it cannot be read at this moment: what was asked for is done all the same.',
      resolve: ({ roomId }, _, context) => viewRoom(context.instance, requireActor(context), roomId),
    }),
  }),
})

/** As the domain has it. `now`: of a request that says when, ms. */
export function roomArguments({ listed, ts, ...input }: typeof CreateRoomInput.$inferInput, now?: number | null): CreateRoom {
  return { ...input, visibility: listed ? 'public' : 'private', ts: ts ?? now ?? null }
}

const reasonText = 'shown to the others'
const aliasText = 'A bridge is asked for an alias of its namespace that leads nowhere yet.'
const bridgeText = 'An appservice as the owner: rooms with a user of it.'

builder.mutationFields((t) => ({
  createRoom: t.field({
    type: RoomReference,
    description:
      'A room with everything it begins with, or nothing at all. Anybody with a token. A bridge is asked for the invited of its namespace who do not exist yet. Errors: M_UNSUPPORTED_ROOM_VERSION, M_ROOM_IN_USE for a taken alias or id, M_INVALID_ROOM_STATE, M_INVALID_PARAM, M_NOT_FOUND for somebody who does not exist.',
    args: { input: t.arg({ type: CreateRoomInput, required: true }) },
    extensions: { puppet: true, suspended: false },
    resolve: (_, { input }, context) => {
      const actor = requireActor(context)
      return orMade(context, { userIds: input.invite ?? [] }, () => createRoom(context.instance, actor, roomArguments(input, context.ts)))
    },
  }),
  joinRoom: t.field({
    type: RoomReference,
    description: `Joins a room, or accepts its invitation; answers too for who is in it. ${aliasText} ${bridgeText} Errors: M_NOT_FOUND, M_FORBIDDEN.`,
    args: {
      roomIdOrAlias: t.arg.string({ required: true }),
      reason: t.arg.string({ description: reasonText }),
      extra: t.arg({ type: 'EventContent', description: 'further keys of the member event' }),
    },
    extensions: { puppet: true, suspended: false },
    resolve: (_, args, context) => {
      const actor = requireActor(context)
      return orMade(context, { aliases: [args.roomIdOrAlias] }, () => joinRoom(context.instance, actor, args))
    },
  }),
  knockRoom: t.id({
    description: `Asks to be invited; gives the room's id. ${aliasText} ${bridgeText} Errors: M_NOT_FOUND, M_FORBIDDEN where the room does not let knock.`,
    args: { roomIdOrAlias: t.arg.string({ required: true }), reason: t.arg.string({ description: reasonText }) },
    extensions: { puppet: true, suspended: false },
    resolve: async (_, args, context) => {
      const actor = requireActor(context)
      const { roomId } = await orMade(context, { aliases: [args.roomIdOrAlias] }, () => knockRoom(context.instance, actor, args))
      return roomId
    },
  }),
  inviteUser: t.boolean({
    description: `Joined users with the power level to invite. A bridge is asked for somebody of its namespace who does not exist yet. ${bridgeText} Errors: M_FORBIDDEN, M_NOT_FOUND.`,
    args: { roomId: t.arg.id({ required: true }), userId: t.arg.id({ required: true }), reason: t.arg.string({ description: reasonText }) },
    extensions: { puppet: true, suspended: false },
    resolve: (_, args, context) => {
      const actor = requireActor(context)
      return orMade(context, { userIds: [args.userId] }, () => inviteUser(context.instance, actor, args))
    },
  }),
  kickUser: t.boolean({
    description: `Removes somebody, or takes an invitation back. Joined users with the power level to kick, above that of the other. ${bridgeText} Errors: M_FORBIDDEN.`,
    args: { roomId: t.arg.id({ required: true }), userId: t.arg.id({ required: true }), reason: t.arg.string({ description: reasonText }) },
    extensions: { puppet: true, suspended: false },
    resolve: (_, args, context) => kickUser(context.instance, requireActor(context), args),
  }),
  banUser: t.boolean({
    description: `Removes somebody for good. Joined users with the power level to ban, above that of the other. ${bridgeText} Errors: M_FORBIDDEN.`,
    args: { roomId: t.arg.id({ required: true }), userId: t.arg.id({ required: true }), reason: t.arg.string({ description: reasonText }) },
    extensions: { puppet: true, suspended: false },
    resolve: (_, args, context) => banUser(context.instance, requireActor(context), args),
  }),
  unbanUser: t.boolean({
    description: `Lets a banned user come again. ${bridgeText} Errors: M_FORBIDDEN, M_BAD_STATE for who is not banned.`,
    args: { roomId: t.arg.id({ required: true }), userId: t.arg.id({ required: true }), reason: t.arg.string({ description: reasonText }) },
    extensions: { puppet: true, suspended: false },
    resolve: (_, args, context) => unbanUser(context.instance, requireActor(context), args),
  }),
  leaveRoom: t.boolean({
    description: `Leaves a room, declines an invitation, withdraws a knock. ${bridgeText} Errors: M_FORBIDDEN.`,
    args: { roomId: t.arg.id({ required: true }), reason: t.arg.string({ description: reasonText }) },
    extensions: { puppet: true },
    resolve: (_, args, context) => leaveRoom(context.instance, requireActor(context), args),
  }),
  forgetRoom: t.boolean({
    description: `Takes a room that was left out of everything the viewer sees. ${bridgeText} Errors: M_UNKNOWN (400) while still in it, M_FORBIDDEN.`,
    args: { roomId: t.arg.id({ required: true }) },
    extensions: { puppet: true },
    resolve: (_, { roomId }, context) => forgetRoom(context.instance, requireActor(context), roomId),
  }),
}))
