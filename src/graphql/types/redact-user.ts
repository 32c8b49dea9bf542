/** Redacting all that somebody said in a room. */
import { type RedactedEvents, redactUser } from '../../rooms/redact-user.ts'
import type { Actor } from '../../users/actor.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'

const RedactedEventsType = builder.objectRef<RedactedEvents>('RedactedEvents').implement({
  description: 'What one request redacted of what somebody said.',
  fields: (t) => ({
    total: t.exposeInt('total', { description: 'How many events this request redacted.' }),
    more: t.exposeBoolean('more', { description: 'There may be more: the same request again goes on.' }),
  }),
})

builder.mutationFields((t) => ({
  redactUser: t.field({
    type: RedactedEventsType,
    description:
      'Redacts what somebody said in a room, the newest first, as far as the viewer may see it: messages, reactions and the like, and what earlier m.room.member events of theirs tell of them. Redactions stay, and so does all other state, which is redacted one by one. One’s own events, or anybody’s with the power level; joined users. A request may take fewer than it was asked for. Errors: M_FORBIDDEN, M_INVALID_PARAM for what is no user id, M_TOO_LARGE for a very long reason, M_USER_SUSPENDED for others’ events while suspended.',
    args: {
      roomId: t.arg.id({ required: true }),
      userId: t.arg.id({ required: true, description: 'whose events' }),
      reason: t.arg.string({ description: 'stands in each redaction' }),
      limit: t.arg.int({ description: 'usually 25, at most 100' }),
      txnId: t.arg.string({ description: 'the same again answers the same and redacts nothing' }),
    },
    extensions: { puppet: true, suspended: ({ userId }: { userId?: unknown }, actor: Actor) => userId === actor.userId },
    resolve: (_, args, context) => redactUser(context.instance, requireActor(context), args),
  }),
}))
