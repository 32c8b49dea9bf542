/** Telling others how far one has read, and that one is typing. */
import { sendReceipt, setReadMarkers } from '../../rooms/receipts.ts'
import { setTyping } from '../../rooms/typing.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'

export const ReceiptInput = builder.inputType('ReceiptInput', {
  fields: (t) => ({
    eventId: t.id({ required: true, description: 'the last event read' }),
    threadId: t.id({ description: '`main` or the root of a thread; without, it counts for all threads' }),
    extra: t.field({
      type: 'JsonObject',
      description: 'further keys; `ts` among them, ms, is the time of the receipt if an appservice says so',
    }),
  }),
})

const permission = 'Joined users. An appservice as the owner: rooms with a user of it.'

builder.mutationFields((t) => ({
  sendReceipt: t.boolean({
    description: `Says that everything up to an event is read. It never moves back. ${permission} Errors: M_FORBIDDEN, M_NOT_FOUND for an unknown event, M_INVALID_PARAM for a wrong type or thread.`,
    args: {
      roomId: t.arg.id({ required: true }),
      type: t.arg.string({
        defaultValue: 'm.read',
        description:
          '`m.read`, `m.read.private` (nobody else sees it), `m.fully_read`, or `com.beeper.inbox.done`: done with the room as of this event',
      }),
      eventId: t.arg.id({ required: true }),
      threadId: t.arg.id({ description: '`main` or the root of a thread; without, it counts for all threads' }),
      extra: t.arg({ type: 'JsonObject', description: 'further keys of the receipt' }),
      allowBackward: t.arg.boolean({ description: 'm.fully_read may move back' }),
    },
    extensions: { puppet: true },
    resolve: (_, { type, ...args }, context) => sendReceipt(context.instance, requireActor(context), { ...args, type: type ?? 'm.read' }),
  }),
  setReadMarkers: t.boolean({
    description: `Any of the three markers, all or none. ${permission} Errors: M_FORBIDDEN, M_NOT_FOUND for an unknown event, M_INVALID_PARAM for a wrong thread.`,
    args: {
      roomId: t.arg.id({ required: true }),
      read: t.arg({ type: ReceiptInput }),
      readPrivate: t.arg({ type: ReceiptInput }),
      fullyRead: t.arg({ type: ReceiptInput }),
      allowBackward: t.arg.boolean({ description: 'fullyRead may move back' }),
    },
    extensions: { puppet: true },
    resolve: (_, args, context) => setReadMarkers(context.instance, requireActor(context), args),
  }),
  setTyping: t.boolean({
    description: `Begins, prolongs or ends typing. ${permission} Errors: M_FORBIDDEN, for another user as well.`,
    args: {
      roomId: t.arg.id({ required: true }),
      userId: t.arg.id({ description: 'who is asking, when left out' }),
      typing: t.arg.boolean({ required: true }),
      timeoutMs: t.arg.int({ description: 'after which it ends by itself; usually 30 000, at most 120 000' }),
    },
    extensions: { puppet: true },
    resolve: (_, args, context) =>
      setTyping(context.instance, requireActor(context), { ...args, userId: args.userId ?? requireActor(context).userId }),
  }),
}))
