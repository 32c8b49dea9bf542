/** Events as people select fields of them; their JSON is at hand beside it. */

import { contentOf, type EventView, typedContentOf } from '../../rooms/timeline.ts'
import type {
  EditContent,
  FileContent,
  MembershipContent,
  ReactionContent,
  RedactionContent,
  TextContent,
  TypedContent,
} from '../../rooms/typed-content.ts'
import { count } from '../answer-size.ts'
import { builder } from '../builder.ts'
import type { Context } from '../context.ts'
import { Membership } from './membership.ts'
import { loadUserByKey, User } from './users.ts'

const Text = builder.objectRef<TextContent>('TextMessage').implement({
  description: 'A text message, a notice (by a bot, for nobody to answer) or an emote.',
  fields: (t) => ({
    body: t.exposeString('body', { description: 'Plain text.' }),
    formattedBody: t.exposeString('formattedBody', { nullable: true, description: 'HTML, to be cleaned before it is shown.' }),
    notice: t.boolean({ resolve: (content) => content.kind === 'notice' }),
    emote: t.boolean({ description: 'What the sender does, in the third person.', resolve: (content) => content.kind === 'emote' }),
    inReplyTo: t.exposeID('inReplyTo', { nullable: true, description: 'Event id.' }),
    threadId: t.exposeID('threadId', { nullable: true, description: 'Event id of the root of its thread.' }),
  }),
})

const FileKind = builder.enumType('FileKind', {
  values: { IMAGE: { value: 'image' }, FILE: { value: 'file' }, AUDIO: { value: 'audio' }, VIDEO: { value: 'video' } } as const,
})

const File = builder.objectRef<FileContent>('FileMessage').implement({
  description: 'An image, a file, a sound or a video. What the sender did not say is null.',
  fields: (t) => ({
    kind: t.expose('kind', { type: FileKind }),
    body: t.exposeString('body', { description: 'The caption when there is a fileName beside it, else the name of the file.' }),
    fileName: t.exposeString('fileName', { nullable: true }),
    url: t.exposeString('url', { nullable: true, description: 'An mxc:// URI.' }),
    encrypted: t.exposeBoolean('encrypted', { description: 'The key lies in `content.file` of the event.' }),
    mimeType: t.exposeString('mimeType', { nullable: true }),
    sizeBytes: t.exposeFloat('sizeBytes', { nullable: true }),
    width: t.exposeInt('width', { nullable: true, description: 'Pixels.' }),
    height: t.exposeInt('height', { nullable: true, description: 'Pixels.' }),
    durationMs: t.exposeInt('durationMs', { nullable: true }),
  }),
})

const Reaction = builder.objectRef<ReactionContent>('Reaction').implement({
  fields: (t) => ({
    target: t.exposeID('target', { description: 'Id of the event reacted to.' }),
    key: t.exposeString('key', { description: 'Mostly an emoji.' }),
  }),
})

const Edit = builder.objectRef<EditContent>('Edit').implement({
  description: 'Replaces what an earlier message of the same sender says.',
  fields: (t) => ({
    target: t.exposeID('target', { description: 'Id of the original event.' }),
    newContent: t.field({ type: 'JsonObject', resolve: (content) => content.newContent }),
  }),
})

const Redaction = builder.objectRef<RedactionContent>('Redaction').implement({
  description: 'Empties an event.',
  fields: (t) => ({
    target: t.exposeID('target', { description: 'Id of the event.' }),
    reason: t.exposeString('reason', { nullable: true }),
  }),
})

const MembershipChange = builder.objectRef<MembershipContent>('MembershipChange').implement({
  description: 'Somebody comes, goes, is invited, is banned, or shows another name.',
  fields: (t) => ({
    userId: t.exposeID('userId', { description: 'Whose membership it is; the sender may be another.' }),
    membership: t.field({ type: Membership, nullable: true, resolve: (content) => content.membership as 'join' }),
    displayName: t.exposeString('displayName', { nullable: true }),
    avatarUrl: t.exposeString('avatarUrl', { nullable: true, description: 'An mxc:// URI.' }),
    reason: t.exposeString('reason', { nullable: true }),
  }),
})

const typeNames = {
  text: 'TextMessage',
  notice: 'TextMessage',
  emote: 'TextMessage',
  image: 'FileMessage',
  file: 'FileMessage',
  audio: 'FileMessage',
  video: 'FileMessage',
  reaction: 'Reaction',
  edit: 'Edit',
  redaction: 'Redaction',
  membership: 'MembershipChange',
} as const satisfies Record<TypedContent['kind'], string>

const CommonContent = builder.unionType('CommonContent', {
  description: 'The content of the common kinds of events.',
  types: [Text, File, Reaction, Edit, Redaction, MembershipChange],
  resolveType: (content) => typeNames[(content as TypedContent).kind],
})

export const Event = builder.objectRef<EventView>('Event').implement({
  description: 'Something that happened in a room, as the viewer may see it.',
  fields: (t) => ({
    eventId: t.id({ resolve: ({ row }) => row.eventId }),
    roomId: t.exposeID('roomId'),
    type: t.string({ description: 'For example `m.room.message`.', resolve: ({ row }) => row.type }),
    stateKey: t.string({ nullable: true, description: 'Null for an event that is no state.', resolve: ({ row }) => row.stateKey }),
    sender: t.field({
      type: User,
      nullable: true,
      description: 'Null for a user who was deleted.',
      resolve: ({ row }, _, context) => loadUserByKey(context, row.sender),
    }),
    originServerTs: t.field({
      type: 'Timestamp',
      description: 'When it was sent; a bridge says when on its network.',
      resolve: ({ row }) => row.ts,
    }),
    position: t.field({
      type: 'Position',
      description: 'Its place in the room: greater is newer, below 0 is prepended history.',
      resolve: ({ row }) => row.order,
    }),
    txnId: t.string({
      nullable: true,
      description: 'What the device that asks called it when it sent it.',
      resolve: (event) => ownTxnId(event),
    }),
    redacted: t.boolean({ description: 'It was emptied; `raw` says by what.', resolve: ({ row }) => row.redactedBy !== null }),
    content: t.field({
      type: 'JsonObject',
      description: 'As it was sent.',
      resolve: (event, _, context) => contentOf(counted(event, context)),
    }),
    common: t.field({
      type: CommonContent,
      nullable: true,
      description: 'The content in fields; null for other kinds, and for what is encrypted or redacted.',
      resolve: (event, _, context) => typedContentOf(counted(event, context)),
    }),
    raw: t.field({
      type: 'ClientEvent',
      description: 'The whole event, with edits, threads and references in `unsigned["m.relations"]`.',
      resolve: ({ text }, _, context) => count(context, text),
    }),
  }),
})

function counted(event: EventView, context: Context): EventView {
  count(context, event.row.json)
  return event
}

function ownTxnId({ text, row }: EventView): string | null {
  if (row.txnId === null) return null
  return (JSON.parse(text) as { unsigned: { transaction_id?: string } }).unsigned.transaction_id ?? null
}
