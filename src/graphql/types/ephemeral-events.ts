/** Events that are never stored: sent, and heard while they last. */
import type { EphemeralEvent as Ephemeral } from '../../rooms/ephemeral-events.ts'
import { sendEphemeralEvent } from '../../rooms/ephemeral-events.ts'
import type { JsonObject } from '../../rules/values.ts'
import { watchEphemeralEvents } from '../../sync/watch.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { loadUserByKey, User } from './users.ts'

builder.mutationField('sendEphemeralEvent', (t) =>
  t.boolean({
    description:
      'Sends an event that is never stored and lasts two minutes; whoever is in the room and syncs hears it, appservices do not. Joined users with the power level (`ephemeral` and `ephemeral_default` of m.room.power_levels, usually 50). An appservice as the owner: rooms with a user of it. Errors: M_FORBIDDEN, M_TOO_LARGE above 64 KiB, M_INVALID_PARAM.',
    args: {
      roomId: t.arg.id({ required: true }),
      type: t.arg.string({ required: true }),
      txnId: t.arg.string({ required: true, description: 'the same again does nothing' }),
      content: t.arg({ type: 'EventContent', required: true }),
      ts: t.arg({ type: 'Timestamp', description: 'when it happened; counts for appservices only' }),
    },
    extensions: { puppet: true, suspended: false },
    resolve: (_, { ts, ...args }, context) =>
      sendEphemeralEvent(context.instance, requireActor(context), { ...args, ts: ts ?? context.ts ?? null }),
  }),
)

const EphemeralEvent = builder.objectRef<Ephemeral>('EphemeralEvent').implement({
  description: 'An event that is never stored.',
  fields: (t) => ({
    type: t.exposeString('type'),
    sender: t.field({ type: User, nullable: true, resolve: ({ sender }, _, context) => loadUserByKey(context, sender) }),
    content: t.field({ type: 'JsonObject', resolve: ({ json }) => (JSON.parse(json) as { content: JsonObject }).content }),
    position: t.expose('position', { type: 'Position', description: '`after` of the next subscription.' }),
  }),
})

builder.subscriptionField('ephemeralEvents', (t) =>
  t.field({
    type: EphemeralEvent,
    description:
      'Events of a room that are never stored, each once while it lasts. Ends when the viewer has left. Joined users; not for an appservice as the owner. Errors, each of which ends it: M_UNKNOWN_TOKEN with the session, M_UNKNOWN with `retry_after_ms` when the homeserver closes (go on from the last position), M_FORBIDDEN.',
    args: {
      roomId: t.arg.id({ required: true }),
      after: t.arg({
        type: 'Position',
        description: 'A position that was read before: what still lasts behind it comes. Left out: from now on.',
      }),
    },
    extensions: { puppet: false },
    subscribe: (_, args, context) => watchEphemeralEvents(context.instance, requireActor(context), args, context.signal),
    resolve: (event) => event,
  }),
)
