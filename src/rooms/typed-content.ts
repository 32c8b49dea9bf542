/** What the common kinds of events say, as fields instead of JSON. What does not look as it should is null: the JSON is still there. */
import { isObject, type JsonObject } from '../rules/values.ts'
import { relationOf } from './relations.ts'

export interface TextContent {
  readonly kind: 'text' | 'notice' | 'emote'
  readonly body: string
  /** HTML */
  readonly formattedBody: string | null
  /** event id answered to */
  readonly inReplyTo: string | null
  /** root of the thread it is in */
  readonly threadId: string | null
}

export interface FileContent {
  readonly kind: 'image' | 'file' | 'audio' | 'video'
  /** the caption, or the file's name */
  readonly body: string
  readonly fileName: string | null
  /** mxc: address; of an encrypted file too */
  readonly url: string | null
  readonly encrypted: boolean
  readonly mimeType: string | null
  readonly sizeBytes: number | null
  readonly width: number | null
  readonly height: number | null
  readonly durationMs: number | null
}

export interface ReactionContent {
  readonly kind: 'reaction'
  /** event id reacted to */
  readonly target: string
  readonly key: string
}

export interface EditContent {
  readonly kind: 'edit'
  /** event id of the original */
  readonly target: string
  readonly newContent: JsonObject
}

export interface RedactionContent {
  readonly kind: 'redaction'
  /** event id of what was emptied */
  readonly target: string
  readonly reason: string | null
}

export interface MembershipContent {
  readonly kind: 'membership'
  readonly userId: string
  readonly membership: string
  readonly displayName: string | null
  readonly avatarUrl: string | null
  readonly reason: string | null
}

export type TypedContent = TextContent | FileContent | ReactionContent | EditContent | RedactionContent | MembershipContent

export interface TypedEvent {
  readonly type: string
  readonly stateKey: string | null
  readonly content: JsonObject
}

export function typedContent(event: TypedEvent): TypedContent | null {
  const { content, stateKey } = event
  if (event.type === 'm.room.member' && stateKey !== null) return membership(stateKey, content)
  if (stateKey !== null) return null
  if (event.type === 'm.reaction') return reaction(content)
  if (event.type === 'm.room.redaction') return redaction(content)
  return event.type === 'm.room.message' ? message(content) : null
}

function message(content: JsonObject): TypedContent | null {
  const relation = relationOf(content)
  const newContent = content['m.new_content']
  if (relation?.relType === 'm.replace' && isObject(newContent)) return { kind: 'edit', target: relation.eventId, newContent }
  const body = text(content['body'])
  if (body === null) return null
  switch (content['msgtype']) {
    case 'm.text':
    case 'm.notice':
    case 'm.emote':
      return {
        kind: content['msgtype'].slice(2) as TextContent['kind'],
        body,
        formattedBody: content['format'] === 'org.matrix.custom.html' ? text(content['formatted_body']) : null,
        inReplyTo: text(object(object(content['m.relates_to'])['m.in_reply_to'])['event_id']),
        threadId: relation?.relType === 'm.thread' ? relation.eventId : null,
      }
    case 'm.image':
    case 'm.file':
    case 'm.audio':
    case 'm.video':
      return file(content['msgtype'].slice(2) as FileContent['kind'], body, content)
    default:
      return null
  }
}

function file(kind: FileContent['kind'], body: string, content: JsonObject): FileContent {
  const info = object(content['info'])
  const encrypted = object(content['file'])
  return {
    kind,
    body,
    fileName: text(content['filename']),
    url: text(content['url']) ?? text(encrypted['url']),
    encrypted: isObject(content['file']),
    mimeType: text(info['mimetype']),
    sizeBytes: count(info['size']),
    width: count(info['w']),
    height: count(info['h']),
    durationMs: count(info['duration']),
  }
}

function reaction(content: JsonObject): ReactionContent | null {
  const relation = relationOf(content)
  if (relation?.relType !== 'm.annotation' || relation.key === null) return null
  return { kind: 'reaction', target: relation.eventId, key: relation.key }
}

function redaction(content: JsonObject): RedactionContent | null {
  const target = text(content['redacts'])
  return target === null ? null : { kind: 'redaction', target, reason: text(content['reason']) }
}

function membership(userId: string, content: JsonObject): MembershipContent | null {
  const value = text(content['membership'])
  if (value === null) return null
  return {
    kind: 'membership',
    userId,
    membership: value,
    displayName: text(content['displayname']),
    avatarUrl: text(content['avatar_url']),
    reason: text(content['reason']),
  }
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function count(value: unknown): number | null {
  return Number.isSafeInteger(value) ? (value as number) : null
}

function object(value: unknown): JsonObject {
  return isObject(value) ? value : {}
}
