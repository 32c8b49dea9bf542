/** What clients may offer their users, and where they find the homeserver. */
import { capabilities } from '../../users/capabilities.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'

builder.queryFields((t) => ({
  capabilities: t.field({
    type: 'JsonObject',
    description:
      'Capabilities by their Matrix names, `m.room_versions` among them; `m.account_moderation` for administrators only. Anybody with a token; not for an appservice as the owner. No errors.',
    extensions: { puppet: false },
    resolve: (_, __, context) => capabilities(requireActor(context)),
  }),
  homeserverUrl: t.string({
    nullable: true,
    description:
      'The address that clients are told to use, without a slash at the end; null when the configuration names none. Needs no token. No errors.',
    extensions: { puppet: true },
    resolve: (_, __, context) => context.instance.config.publicUrl,
  }),
}))
