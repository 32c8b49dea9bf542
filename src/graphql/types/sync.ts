/** Sync v2 for the shim: its result is a document of stored JSON. Clients of GraphQL subscribe instead. */
import { sync } from '../../sync/sync.ts'
import { builder } from '../builder.ts'
import { requireActor, whileInSession } from '../context.ts'

const StateAfter = builder.enumType('StateAfter', {
  description: 'Under which key the state at the end of the timeline stands.',
  values: { STABLE: { value: 'state_after' }, UNSTABLE: { value: 'org.matrix.msc4222.state_after' } } as const,
})

builder.queryField('sync', (t) =>
  t.field({
    type: 'RawJson',
    description:
      'The answer of GET /sync: what changed for this device since `since`, waited for up to `timeoutMs`. Errors: M_INVALID_PARAM, M_BAD_JSON. Anybody with a token; not for an appservice as the owner.',
    args: {
      since: t.arg.string({ description: 'a token; all of it when left out' }),
      timeoutMs: t.arg.int({ description: 'at most 60 000; 0: answer at once' }),
      filter: t.arg.string({ description: "a filter's id, or the filter as JSON" }),
      fullState: t.arg.boolean(),
      setPresence: t.arg.string(),
      stateAfter: t.arg({ type: StateAfter }),
      previews: t.arg.boolean({ description: 'each room with events says what a list of rooms shows of it' }),
    },
    extensions: { puppet: false },
    resolve: (_, args, context) => whileInSession(context, (signal) => sync(context.instance, requireActor(context), args, signal)),
  }),
)
