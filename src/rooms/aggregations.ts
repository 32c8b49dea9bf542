/**
 * What other events say about an event, bundled with it: its newest edit, its thread, what refers to it.
 * https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
 */
import { isObject, type JsonObject } from '../rules/values.ts'
import type { Related } from '../storage/storage.ts'
import type { EventRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { eventText, type Requester } from './event-json.ts'
import { relationOf } from './relations.ts'
import { spotName } from './spot.ts'

export interface BundleOptions {
  roomIdOf(room: number): string | undefined
  /** children behind this order are not the requester's to see */
  readonly upTo?: number | undefined
}

const bundled = ['m.replace', 'm.thread', 'm.reference']

/** Edits looked at per event, the newest ones. */
const mostEdits = 50

/** The `m.relations` object of each row that has one, by "room order". State events have none. */
export async function bundledRelations(
  instance: Instance,
  requester: Requester,
  rows: readonly EventRow[],
  options: BundleOptions,
): Promise<Map<string, string>> {
  const parents = rows.filter((row) => row.stateKey === null)
  const bundler = new Bundler(instance, requester, options)
  return bundler.bundle(parents, bundled)
}

class Bundler {
  private readonly instance: Instance
  private readonly requester: Requester
  private readonly options: BundleOptions
  private readonly now: number

  constructor(instance: Instance, requester: Requester, options: BundleOptions) {
    this.instance = instance
    this.requester = requester
    this.options = options
    this.now = instance.ports.now()
  }

  async bundle(parents: readonly EventRow[], relTypes: readonly string[]): Promise<Map<string, string>> {
    const relations = await this.relations(parents, relTypes)
    const children = await this.children(parents, relations)
    const latest = parents.flatMap((parent) => latestOf(parent, relations, children) ?? [])
    // A thread's newest event comes with its own edit, but with no thread of its own.
    const edits: Map<string, string> = latest.length > 0 ? await this.bundle(latest, ['m.replace']) : new Map()
    const texts = new Map<string, string>()
    for (const parent of parents) {
      const text = this.text(parent, relations.get(childKey(parent.room, parent.eventId)) ?? [], children, edits)
      if (text !== null) texts.set(spotName(parent), text)
    }
    return texts
  }

  private async relations(parents: readonly EventRow[], relTypes: readonly string[]): Promise<Map<string, Related[]>> {
    const byParent = new Map<string, Related[]>()
    if (parents.length === 0) return byParent
    const ids = new Map<number, string[]>()
    for (const { room, eventId } of parents) {
      const ofRoom = ids.get(room)
      if (ofRoom) ofRoom.push(eventId)
      else ids.set(room, [eventId])
    }
    const { upTo = Number.MAX_SAFE_INTEGER } = this.options
    const rows = await this.instance.storage.relationsTo(ids, relTypes, { user: this.requester.user, upTo })
    for (const row of rows.sort((a, b) => a.order - b.order)) {
      const key = childKey(row.room, row.parent)
      const known = byParent.get(key)
      if (known) known.push(row)
      else byParent.set(key, [row])
    }
    return byParent
  }

  /** The events behind the relations that are shown: edits, references, and the newest of each thread. */
  private async children(parents: readonly EventRow[], relations: ReadonlyMap<string, readonly Related[]>): Promise<Map<string, EventRow>> {
    const places = parents.flatMap((parent) => {
      const rows = relations.get(childKey(parent.room, parent.eventId)) ?? []
      return [...editsOf(parent, rows), ...rows.filter(({ relType }) => relType === 'm.reference' || relType === 'm.thread')]
    })
    const events = places.length > 0 ? await this.instance.storage.eventsAt(places) : []
    return new Map(events.map((row) => [spotName(row), row]))
  }

  private text(
    parent: EventRow,
    relations: readonly Related[],
    children: ReadonlyMap<string, EventRow>,
    edits: ReadonlyMap<string, string>,
  ): string | null {
    const parts: string[] = []
    const edit = newestEdit(parent, relations, children)
    if (edit) parts.push(`"m.replace":${this.child(edit)}`)
    const references = relations.flatMap((row) => (row.relType === 'm.reference' ? (children.get(spotName(row)) ?? []) : []))
    if (references.length > 0) {
      parts.push(`"m.reference":{"chunk":[${references.map((row) => `{"event_id":${JSON.stringify(row.eventId)}}`).join()}]}`)
    }
    const thread = threadOf(relations)
    const latest = thread && children.get(spotName(thread))
    if (latest) {
      const participated = parent.sender === this.requester.user || thread.participated === 1
      const event = this.child(latest, edits.get(spotName(latest)))
      parts.push(`"m.thread":{"latest_event":${event},"count":${thread.count},"current_user_participated":${participated}}`)
    }
    return parts.length === 0 ? null : `{${parts.join()}}`
  }

  private child(row: EventRow, relations?: string): string {
    return eventText(row, { roomId: this.options.roomIdOf(row.room), now: this.now, requester: this.requester, relations })
  }
}

function threadOf(relations: readonly Related[]): Related | undefined {
  return relations.find(({ relType }) => relType === 'm.thread')
}

function latestOf(
  parent: EventRow,
  relations: ReadonlyMap<string, readonly Related[]>,
  children: ReadonlyMap<string, EventRow>,
): EventRow | undefined {
  const thread = threadOf(relations.get(childKey(parent.room, parent.eventId)) ?? [])
  return thread && children.get(spotName(thread))
}

/** "The sender and the type are the same as the original's"; a redacted event has nothing left to edit. */
function editsOf(parent: EventRow, relations: readonly Related[]): Related[] {
  if (parent.redactedBy !== null) return []
  return relations
    .filter((row) => row.relType === 'm.replace' && row.sender === parent.sender && row.type === parent.type)
    .slice(-mostEdits)
}

/** "The replacement event is the most recent by origin_server_ts; of equal ones the one with the larger event id." */
function newestEdit(parent: EventRow, relations: readonly Related[], children: ReadonlyMap<string, EventRow>): EventRow | null {
  const candidates = editsOf(parent, relations)
  // "The original event must not, itself, have a rel_type of m.replace."
  if (candidates.length === 0 || relationOf(contentOf(parent))?.relType === 'm.replace') return null
  const edits = candidates.flatMap((row) => children.get(spotName(row)) ?? [])
  edits.sort((a, b) => b.ts - a.ts || (a.eventId < b.eventId ? 1 : -1))
  // An encrypted edit has its new content in the ciphertext.
  return edits.find((row) => row.type === 'm.room.encrypted' || isObject(contentOf(row)['m.new_content'])) ?? null
}

function contentOf(row: EventRow): JsonObject {
  return (JSON.parse(row.json) as { content?: JsonObject }).content ?? {}
}

function childKey(room: number, parent: string): string {
  return `${room} ${parent}`
}
