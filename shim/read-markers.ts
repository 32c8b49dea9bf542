/** The body of read_markers, which stands inside other bodies too. https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers */
import type { Static } from 'typebox'
import { AnyObject } from './shape.ts'
import { Type } from './type.ts'

/** js-sdk writes null for a marker that stays where it is. */
const EventId = Type.Optional(Type.Union([Type.String(), Type.Null()]))
const Extra = Type.Optional(AnyObject)

export const Markers = Type.Object({
  'm.fully_read': EventId,
  'm.read': EventId,
  'm.read.private': EventId,
  'com.beeper.fully_read.extra': Extra,
  'com.beeper.read.extra': Extra,
  'com.beeper.read.private.extra': Extra,
  'com.beeper.allow_backward': Type.Optional(Type.Boolean()),
})

/** As the core takes them. */
export function markersIn(body: Static<typeof Markers>) {
  return {
    fullyRead: marker(body['m.fully_read'], body['com.beeper.fully_read.extra']),
    read: marker(body['m.read'], body['com.beeper.read.extra']),
    readPrivate: marker(body['m.read.private'], body['com.beeper.read.private.extra']),
    allowBackward: body['com.beeper.allow_backward'],
  }
}

function marker(
  eventId: string | null | undefined,
  extra: Static<typeof AnyObject> | undefined,
): { eventId: string; extra: object } | null {
  return typeof eventId === 'string' ? { eventId, extra: extra ?? {} } : null
}
