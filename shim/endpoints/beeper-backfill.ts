/** Beeper's successor of MSC2716: a bridge brings the history of a room. */
import { invalidParam } from '../../src/errors.ts'
import { endpoint, graphql } from '../endpoint.ts'
import { EventContent, Milliseconds } from '../shape.ts'
import { Type } from '../type.ts'

const OptionalText = Type.Optional(Type.Union([Type.String(), Type.Null()]))

/** `{events, forward, forward_if_no_messages, send_notification, mark_read_by}` → `{event_ids}`, one for each event. */
export const batchSend = endpoint({
  method: 'POST',
  path: '/_matrix/client/unstable/com.beeper.backfill/rooms/{roomId}/batch_send',
  auth: 'accessToken',
  bodyLimitBytes: 32_000_000,
  body: Type.Object({
    events: Type.Array(
      Type.Object({
        type: Type.String(),
        sender: Type.String(),
        content: EventContent,
        origin_server_ts: Type.Optional(Milliseconds),
        event_id: OptionalText,
        room_id: OptionalText,
        state_key: OptionalText,
        redacts: OptionalText,
      }),
    ),
    forward: Type.Optional(Type.Boolean()),
    forward_if_no_messages: Type.Optional(Type.Boolean()),
    send_notification: Type.Optional(Type.Boolean()),
    mark_read_by: OptionalText,
  }),
  operation: graphql(`
    mutation BatchSend(
      $roomId: ID!, $events: [BatchEventInput!]!, $forward: Boolean, $forwardIfNoMessages: Boolean, $sendNotification: Boolean, $markReadBy: ID
    ) {
      batchSend(
        roomId: $roomId, events: $events, forward: $forward, forwardIfNoMessages: $forwardIfNoMessages
        sendNotification: $sendNotification, markReadBy: $markReadBy
      ) { eventIds }
    }
  `),
  variables: ({ params, body }) => ({
    roomId: params.roomId,
    events: body.events.map(({ state_key, room_id, ...event }) => {
      if (typeof state_key === 'string') throw invalidParam('A batch holds no state events')
      if (room_id && room_id !== params.roomId) throw invalidParam(`An event is of the room ${room_id}`)
      const { type, sender, content, origin_server_ts, event_id, redacts } = event
      return { type, sender, content, ts: origin_server_ts ?? null, eventId: event_id || null, redacts: redacts ?? null }
    }),
    forward: body.forward,
    forwardIfNoMessages: body.forward_if_no_messages,
    sendNotification: body.send_notification,
    markReadBy: body.mark_read_by || null,
  }),
  response: ({ batchSend }) => ({ event_ids: batchSend.eventIds }),
})
