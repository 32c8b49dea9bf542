/** The inbox as one keeps it: done with rooms, muted them, wants to read them again. */
import { archiveRooms, type Marks, muteRoom, readMarks } from '../../rooms/archive.ts'
import { setInboxState } from '../../rooms/inbox-state.ts'
import { builder } from '../builder.ts'
import { type Context, requireActor } from '../context.ts'
import { loader } from '../loader.ts'
import { ReceiptInput } from './reading.ts'
import { Room } from './rooms.ts'

const DoneInput = builder.inputType('DoneInput', {
  description: 'The viewer is done with a room; what comes later brings it back.',
  fields: (t) => ({
    atDelta: t.field({ type: 'Position', description: 'ms from now at which the viewer is done with it; now, when left out' }),
    atOrder: t.field({ type: 'Position', description: 'position of the last event that the viewer has dealt with' }),
  }),
})

const ReadMarkersInput = builder.inputType('ReadMarkersInput', {
  description: 'As the arguments of `setReadMarkers`.',
  fields: (t) => ({
    read: t.field({ type: ReceiptInput }),
    readPrivate: t.field({ type: ReceiptInput }),
    fullyRead: t.field({ type: ReceiptInput }),
    allowBackward: t.boolean({ description: 'fullyRead may move back' }),
  }),
})

const loadMarks = loader((context, rooms: readonly number[]) => readMarks(context.instance, requireActor(context).user!, rooms))

builder.objectFields(Room, (t) => ({
  doneAt: t.field({
    type: 'Timestamp',
    nullable: true,
    description: 'When the viewer was, or will be, done with it; null: not. A newer event brings the room back.',
    resolve: ({ room }, _, context) => marksOf(room.key, context).then(({ doneAt }) => doneAt),
  }),
  mutedUntil: t.field({
    type: 'Timestamp',
    nullable: true,
    description: 'Until when the viewer muted it; -1: for ever; null: not muted.',
    resolve: ({ room }, _, context) => marksOf(room.key, context).then(({ mutedUntil }) => mutedUntil),
  }),
}))

function marksOf(room: number, context: Context): Promise<Marks> {
  return loadMarks(context, room)
}

builder.queryField('time', (t) =>
  t.field({
    type: 'Timestamp',
    description: 'The homeserver’s clock, by which `doneAt` and `mutedUntil` are judged. Anybody with a token. No errors.',
    extensions: { puppet: true },
    resolve: (_, __, context) => {
      requireActor(context)
      return context.instance.ports.now()
    },
  }),
)

builder.mutationFields((t) => ({
  setInboxState: t.boolean({
    description:
      'Everything about a room’s place in the inbox in one step, or nothing. Joined users. An appservice as the owner: rooms with a user of it. Errors: M_FORBIDDEN, for another user as well; M_INVALID_PARAM, M_NOT_FOUND for an unknown event.',
    args: {
      userId: t.arg.id({ description: 'who is asking, when left out' }),
      roomId: t.arg.id({ required: true }),
      markedUnread: t.arg.boolean({ description: 'wins over `readMarkers`, which take the mark away' }),
      done: t.arg({ type: DoneInput }),
      readMarkers: t.arg({ type: ReadMarkersInput }),
    },
    extensions: { puppet: true },
    resolve: (_, args, context) =>
      setInboxState(context.instance, requireActor(context), { ...args, userId: args.userId ?? requireActor(context).userId }),
  }),
  archiveRooms: t.boolean({
    description:
      'The viewer is done with these rooms, at most 10 000; those that the viewer is not in are passed over. Anybody with a token; not for an appservice as the owner. Errors: M_INVALID_PARAM for what is no room id, M_TOO_LARGE.',
    args: { roomIds: t.arg.idList({ required: true }) },
    extensions: { puppet: false },
    resolve: (_, { roomIds }, context) => archiveRooms(context.instance, requireActor(context), roomIds),
  }),
  muteRoom: t.boolean({
    description:
      'Mutes a room: nothing in it notifies but mentions and keywords. Who is or was in it. An appservice as the owner: rooms with a user of it. Errors: M_FORBIDDEN, M_INVALID_PARAM.',
    args: {
      roomId: t.arg.id({ required: true }),
      until: t.arg({ type: 'Timestamp', required: true, description: 'a time; -1: for ever; 0: not muted' }),
    },
    extensions: { puppet: true },
    resolve: (_, args, context) => muteRoom(context.instance, requireActor(context), args),
  }),
}))
