/** Sending, and what the Matrix face reads as whole documents. */
import { orMade } from '../../appservices/queries.ts'
import { eventContext, messages } from '../../rooms/history.ts'
import { joinedMembers, members } from '../../rooms/members.ts'
import { redact } from '../../rooms/redact.ts'
import { relations, threads } from '../../rooms/relation-pages.ts'
import { sendMessage, sendState } from '../../rooms/send.ts'
import { roomState, stateContent, stateEvent } from '../../rooms/state.ts'
import { viewEvent } from '../../rooms/timeline.ts'
import { viewUnredacted } from '../../rooms/unredacted.ts'
import type { Actor } from '../../users/actor.ts'
import { count, readInTurn } from '../answer-size.ts'
import { builder } from '../builder.ts'
import { type Context, type Instance, requireActor } from '../context.ts'
import { Event } from './events.ts'
import { Membership } from './membership.ts'

const Direction = builder.enumType('Direction', {
  values: { BACKWARDS: { value: 'b', description: 'From newer to older.' }, FORWARDS: { value: 'f' } } as const,
})

interface Sent {
  readonly roomId: string
  readonly eventId: string
}

const SentEvent = builder.objectRef<Sent>('SentEvent').implement({
  description: 'An event that was sent, now or by an earlier request with the same txnId.',
  fields: (t) => ({
    eventId: t.exposeID('eventId'),
    event: t.field({
      type: Event,
      nullable: true,
      description: 'Null, with an error beside the data, when it cannot be read at this moment: it was sent all the same.',
      resolve: (sent, _, context) => viewEvent(context.instance, requireActor(context), sent),
    }),
  }),
})

const filterText = 'a RoomEventFilter as JSON'
const pageText = 'A page of large events has fewer: about 2 MB.'
const rawText = 'For the Matrix face; clients of GraphQL page through `Room`.'
const readerText = 'Anybody who may read the room. Errors: M_FORBIDDEN.'

async function page(context: Context, read: (instance: Instance, actor: Actor) => Promise<string>): Promise<string> {
  return count(context, await readInTurn(context, () => read(context.instance, requireActor(context))))
}

builder.queryFields((t) => ({
  event: t.field({
    type: Event,
    description:
      'One event. Errors: M_NOT_FOUND when there is none that the viewer may see; with `includeUnredacted` M_FORBIDDEN for who may not redact what others say and is no administrator, FI.MAU.MSC2815_UNREDACTED_CONTENT_DELETED when its content is not kept any more.',
    args: {
      roomId: t.arg.id({ required: true }),
      eventId: t.arg.id({ required: true }),
      includeUnredacted: t.arg.boolean({ description: 'with the content that it had before it was redacted' }),
    },
    extensions: { puppet: true },
    resolve: (_, { includeUnredacted, ...args }, context) =>
      (includeUnredacted ? viewUnredacted : viewEvent)(context.instance, requireActor(context), args),
  }),
  roomMessages: t.field({
    type: 'RawJson',
    description: `The answer of GET /messages. ${rawText} ${pageText} Anybody who may read the room. Errors: M_FORBIDDEN, M_INVALID_PARAM, M_BAD_JSON, M_TOO_LARGE when the answer holds 32 MB already.`,
    args: {
      roomId: t.arg.id({ required: true }),
      dir: t.arg({ type: Direction, required: true }),
      from: t.arg.string({ description: 'a token; the newest or the oldest end when left out' }),
      to: t.arg.string({ description: 'a token not to cross' }),
      limit: t.arg.int({ description: 'usually 10, at most 1 000' }),
      filter: t.arg.string({ description: filterText }),
    },
    extensions: { puppet: true },
    resolve: (_, args, context) => page(context, (instance, actor) => messages(instance, actor, args)),
  }),
  eventRelations: t.field({
    type: 'RawJson',
    description: `The answer of GET /relations: what relates to an event, such as edits, reactions and the replies in its thread. ${rawText} ${pageText} Anybody who may read the room. Errors: M_NOT_FOUND, M_FORBIDDEN, M_INVALID_PARAM, M_TOO_LARGE when the answer holds 32 MB already.`,
    args: {
      roomId: t.arg.id({ required: true }),
      eventId: t.arg.id({ required: true }),
      relType: t.arg.string({ description: 'only in this way, such as `m.thread`' }),
      eventType: t.arg.string({ description: 'only events of this type' }),
      dir: t.arg({ type: Direction, description: 'usually BACKWARDS' }),
      from: t.arg.string({ description: 'a token; the end to begin at when left out' }),
      to: t.arg.string({ description: 'a token not to cross' }),
      limit: t.arg.int({ description: 'usually 10, at most 1 000' }),
      recurse: t.arg.boolean({ description: 'also what relates to those, in up to 3 steps' }),
    },
    extensions: { puppet: true },
    resolve: (_, args, context) => page(context, (instance, actor) => relations(instance, actor, args)),
  }),
  roomThreads: t.field({
    type: 'RawJson',
    description: `The answer of GET /threads: the roots of a room's threads, the one with the newest reply first. ${rawText} ${pageText} Anybody who may read the room. Errors: M_FORBIDDEN, M_INVALID_PARAM, M_TOO_LARGE when the answer holds 32 MB already.`,
    args: {
      roomId: t.arg.id({ required: true }),
      participated: t.arg.boolean({ description: 'only those that the viewer began or answered in' }),
      from: t.arg.string({ description: 'a token' }),
      limit: t.arg.int({ description: 'usually 10, at most 1 000' }),
    },
    extensions: { puppet: true },
    resolve: (_, { participated, ...args }, context) =>
      page(context, (instance, actor) => threads(instance, actor, { ...args, include: participated ? 'participated' : 'all' })),
  }),
  roomContext: t.field({
    type: 'RawJson',
    description: `The answer of GET /context: what stands around an event. ${rawText} ${pageText} Anybody who may read the room. Errors: M_NOT_FOUND, M_BAD_JSON, M_TOO_LARGE when the answer holds 32 MB already.`,
    args: {
      roomId: t.arg.id({ required: true }),
      eventId: t.arg.id({ required: true }),
      limit: t.arg.int({ description: 'events before and after together; usually 10' }),
      filter: t.arg.string({ description: filterText }),
    },
    extensions: { puppet: true },
    resolve: (_, args, context) => page(context, (instance, actor) => eventContext(instance, actor, args)),
  }),
  roomState: t.field({
    type: 'RawJson',
    description: `All state events as a list. ${rawText} ${readerText}`,
    args: { roomId: t.arg.id({ required: true }) },
    extensions: { puppet: true },
    resolve: (_, { roomId }, context) => roomState(context.instance, requireActor(context), roomId),
  }),
  roomStateEvent: t.field({
    type: 'JsonObject',
    description: `The content of one piece of state, or the whole event. ${rawText} ${readerText} M_NOT_FOUND when the room has none such.`,
    args: {
      roomId: t.arg.id({ required: true }),
      type: t.arg.string({ required: true }),
      stateKey: t.arg.string({ required: true }),
      whole: t.arg.boolean(),
    },
    extensions: { puppet: true },
    resolve: (_, { whole, ...args }, context) => (whole ? stateEvent : stateContent)(context.instance, requireActor(context), args),
  }),
  roomMembers: t.field({
    type: 'RawJson',
    description: `The m.room.member events as a list. ${rawText} ${readerText} M_INVALID_PARAM for a bad token.`,
    args: {
      roomId: t.arg.id({ required: true }),
      at: t.arg.string({ description: 'a token: the members as they were then' }),
      membership: t.arg({ type: Membership, description: 'only these' }),
      notMembership: t.arg({ type: Membership, description: 'not these' }),
    },
    extensions: { puppet: true },
    resolve: (_, args, context) => members(context.instance, requireActor(context), args),
  }),
  joinedMembers: t.field({
    type: 'RawJson',
    description: `User id → display_name and avatar_url. ${rawText} Errors: M_FORBIDDEN unless joined.`,
    args: { roomId: t.arg.id({ required: true }) },
    extensions: { puppet: true },
    resolve: (_, { roomId }, context) => joinedMembers(context.instance, requireActor(context), roomId),
  }),
}))

const tsText = 'when it happened; counts for appservices only'
const idText =
  'its id; counts for appservices only. The same again with the same sender, type, state key and content answers it; with others it is refused: M_INVALID_PARAM (409)'

builder.mutationFields((t) => ({
  sendMessage: t.field({
    type: SentEvent,
    description:
      'Sends an event that is no state. Joined users with the power level. Errors: M_FORBIDDEN, M_TOO_LARGE above 65 536 bytes, M_DUPLICATE_ANNOTATION for a reaction that stands already, M_USER_SUSPENDED for who is suspended, but for redactions.',
    args: {
      roomId: t.arg.id({ required: true }),
      type: t.arg.string({ defaultValue: 'm.room.message' }),
      txnId: t.arg.string({ required: true, description: 'the same again answers the first event' }),
      content: t.arg({ type: 'EventContent', required: true }),
      ts: t.arg({ type: 'Timestamp', description: tsText }),
      eventId: t.arg.id({ description: idText }),
    },
    extensions: { puppet: true, suspended: ({ type }: { readonly type?: unknown }) => type === 'm.room.redaction' },
    resolve: async (_, { ts, type, ...args }, context) => ({
      ...(await sendMessage(context.instance, requireActor(context), {
        ...args,
        type: type ?? 'm.room.message',
        ts: ts ?? context.ts ?? null,
      })),
      roomId: args.roomId,
    }),
  }),
  sendState: t.field({
    type: SentEvent,
    description:
      'Sets a piece of state; what stands already is answered with its event. Joined users with the power level. A bridge is asked for a member of its namespace who does not exist yet. Errors: M_FORBIDDEN, M_NOT_FOUND for a member who does not exist, M_BAD_ALIAS, M_TOO_LARGE above 65 536 bytes.',
    args: {
      roomId: t.arg.id({ required: true }),
      type: t.arg.string({ required: true }),
      stateKey: t.arg.string({ defaultValue: '' }),
      content: t.arg({ type: 'EventContent', required: true }),
      txnId: t.arg.string({ description: 'the same again answers the first event' }),
      ts: t.arg({ type: 'Timestamp', description: tsText }),
      eventId: t.arg.id({ description: idText }),
    },
    extensions: { puppet: true, suspended: false },
    resolve: async (_, { ts, stateKey, ...args }, context) => ({
      ...(await orMade(context, { userIds: args.type === 'm.room.member' ? [stateKey ?? ''] : [] }, () =>
        sendState(context.instance, requireActor(context), { ...args, stateKey: stateKey ?? '', ts: ts ?? context.ts ?? null }),
      )),
      roomId: args.roomId,
    }),
  }),
  redact: t.field({
    type: SentEvent,
    description:
      'Empties an event: an own one, or anybody’s with the power level. Errors: M_FORBIDDEN, M_NOT_FOUND, M_USER_SUSPENDED for others’ events while suspended.',
    args: {
      roomId: t.arg.id({ required: true }),
      eventId: t.arg.id({ required: true }),
      txnId: t.arg.string({ required: true, description: 'the same again answers the first event' }),
      content: t.arg({ type: 'EventContent', description: '`reason` and whatever else' }),
      ts: t.arg({ type: 'Timestamp', description: tsText }),
    },
    extensions: { puppet: true },
    resolve: async (_, { ts, content, ...args }, context) => ({
      ...(await redact(context.instance, requireActor(context), { ...args, content: content ?? {}, ts: ts ?? context.ts ?? null })),
      roomId: args.roomId,
    }),
  }),
}))
