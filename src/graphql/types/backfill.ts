/** What bridges do with the past of their rooms. */
import { batchSend } from '../../rooms/batch-send.ts'
import { mergeRooms, splitRoom } from '../../rooms/merge.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { CreateRoomInput, RoomReference, roomArguments } from './room-changes.ts'

const BatchEventInput = builder.inputType('BatchEventInput', {
  description: 'An event of a batch; no state.',
  fields: (t) => ({
    type: t.string({ required: true }),
    sender: t.id({
      required: true,
      description: "the owner, the bridge's bot or a user of its namespaces, who is made if need be and need not be in the room",
    }),
    content: t.field({ type: 'EventContent', required: true }),
    ts: t.field({ type: 'Timestamp', description: 'when it happened; now when left out' }),
    eventId: t.id({ description: 'kept as it is, of any domain; made when left out' }),
    redacts: t.id({ description: 'of an m.room.redaction: the event that it empties, if that stands before it' }),
  }),
})

const Batch = builder.objectRef<{ readonly roomId: string; readonly eventIds: readonly string[] }>('Batch').implement({
  description: 'Events that were sent together, now or by an earlier request that said the same.',
  fields: (t) => ({
    eventIds: t.idList({
      description: 'In the order of the request. For a reaction that the room has already under another id, that one.',
      resolve: ({ eventIds }) => [...eventIds],
    }),
  }),
})

const keyText = 'key of the content that says to which chat of the network an event belongs'
const creatorText = 'who makes the room: a user of the bridge; usually who asks'

const SplitPartInput = builder.inputType('SplitPartInput', {
  description: 'A room to be made of a part of another one.',
  fields: (t) => ({
    create: t.field({ type: CreateRoomInput, required: true }),
    values: t.stringList({ required: true, description: 'of the key: events with one of them go to this room' }),
    userId: t.id({ description: creatorText }),
  }),
})

const SplitValue = builder.objectRef<{ readonly value: string; readonly roomId: string }>('SplitValue').implement({
  description: 'Where the events of a value went.',
  fields: (t) => ({ value: t.exposeString('value'), roomId: t.exposeID('roomId') }),
})

builder.mutationFields((t) => ({
  batchSend: t.field({
    type: Batch,
    description:
      'Adds up to 5 000 events (32 MB) to a room, all or none. Before its first event, where nobody hears of them until they page back, unless `forward` says otherwise. The same batch again adds nothing; of one that continues what the room has (its first events at the live end, its last ones in history, the same and in the same order) only the rest is added. Reactions may come and go anywhere in it: one that the room has already, by the same sender and with the same key, is not added again, and a new one goes where the rest does. Needs an as_token, for a room with a user of its bridge. Errors: M_FORBIDDEN, also for a sender whom the bridge may not speak for; M_TOO_LARGE; M_BAD_JSON; M_INVALID_PARAM for an id that stands twice in the batch, and for a batch that is otherwise in the room in part, or with other content; M_USER_SUSPENDED at the live end for an owner who is suspended or locked.',
    args: {
      roomId: t.arg.id({ required: true }),
      events: t.arg({ type: [BatchEventInput], required: true, description: 'the oldest first' }),
      forward: t.arg.boolean({ description: 'at the live end: readers hear of them' }),
      forwardIfNoMessages: t.arg.boolean({ description: 'at the live end if the room has nothing but state' }),
      sendNotification: t.arg.boolean({ description: 'of events at the live end: the newest message notifies and counts as unread' }),
      markReadBy: t.arg.id({ description: 'whose read receipt and fully-read marker move to the end of the batch, in the same step' }),
    },
    resolve: async (_, args, context) => ({
      ...(await batchSend(context.instance, requireActor(context), args)),
      roomId: args.roomId,
    }),
  }),
  mergeRooms: t.field({
    type: RoomReference,
    description:
      'Makes one room of 2 to 100: they are gone for everybody at once, and their history comes in below the new one’s first event, by time, in slices (a job). Event ids and times stay; what was encrypted says in `com.beeper.original_room_id` for which room. What was unread stays unread; receipts, markers and room account data come too, and what waits for appservices is delivered as of the new room. State stays behind. Needs an as_token, for rooms with a user of its bridge. Errors: M_FORBIDDEN, M_INVALID_PARAM, and those of `createRoom`.',
    args: {
      create: t.arg({ type: CreateRoomInput, required: true }),
      rooms: t.arg.idList({ required: true, description: 'ids of the old rooms' }),
      key: t.arg.string({ required: true, description: keyText }),
      userId: t.arg.id({ description: creatorText }),
    },
    resolve: (_, { create, ...args }, context) =>
      mergeRooms(context.instance, requireActor(context), { ...args, create: roomArguments(create) }),
  }),
  splitRoom: t.field({
    type: [SplitValue],
    description:
      'Makes several rooms of one, which is gone for everybody at once; its history comes in as with `mergeRooms`, and each room gets the room account data. An event without one of the values goes where the event goes that it speaks of, else to the first part. Answers with the room of each value. Needs an as_token, for a room with a user of its bridge. Errors: M_FORBIDDEN, M_INVALID_PARAM for a value given twice, and those of `createRoom`.',
    args: {
      roomId: t.arg.id({ required: true }),
      key: t.arg.string({ required: true, description: keyText }),
      parts: t.arg({ type: [SplitPartInput], required: true, description: '1 to 100, with at most 1 000 values' }),
    },
    resolve: async (_, { parts, ...args }, context) =>
      (
        await splitRoom(context.instance, requireActor(context), {
          ...args,
          parts: parts.map(({ create, ...part }) => ({ ...part, create: roomArguments(create) })),
        })
      ).rooms,
  }),
}))
