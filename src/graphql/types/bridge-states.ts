/** What bridges report, as it is shown. */
import type { Checkpoint } from '../../appservices/checkpoints.ts'
import { stateEvent } from '../../appservices/reports.ts'
import { ownSteps } from '../../rooms/checkpoints.ts'
import type { BridgeStateRow } from '../../storage/tables.ts'
import { builder } from '../builder.ts'
import { loader } from '../loader.ts'

const loadBridgeId = loader(async ({ instance }, keys: readonly number[]) => {
  const rows = await instance.storage.find('appservice', { where: { key: { in: keys } } })
  return keys.map((key) => rows.find((row) => row.key === key)?.id ?? null)
})

export const BridgeState = builder.objectRef<BridgeStateRow>('BridgeState').implement({
  description: 'The newest state of a bridge or of one of its logins.',
  fields: (t) => ({
    remoteId: t.exposeString('remoteId', { description: 'The login on the remote network; empty for the bridge itself.' }),
    stateEvent: t.string({ description: 'CONNECTED, BAD_CREDENTIALS…', resolve: (row) => stateEvent(JSON.parse(row.state)) }),
    reportedAt: t.field({ type: 'Timestamp', resolve: (row) => row.ts }),
    state: t.field({ type: 'JsonObject', description: 'As the bridge sent it.', resolve: (row) => row.state }),
  }),
})

export const MessageCheckpoint = builder.objectRef<Checkpoint>('MessageCheckpoint').implement({
  description: 'How far a message got on its way to the remote network.',
  fields: (t) => ({
    eventId: t.exposeID('eventId'),
    step: t.exposeString('step', { description: 'CLIENT, HOMESERVER, BRIDGE, DECRYPTED, REMOTE or COMMAND.' }),
    status: t.exposeString('status', { description: 'SUCCESS, WILL_RETRY, PERM_FAILURE, UNSUPPORTED, TIMEOUT…' }),
    bridgeId: t.id({
      nullable: true,
      description:
        'The bridge that reported it; null: the homeserver did, for all bridges that the message goes to, or the bridge is gone.',
      resolve: ({ step, appservice }, _, context) => (ownSteps.has(step) ? null : loadBridgeId(context, appservice)),
    }),
    checkpoint: t.field({
      type: 'JsonObject',
      description: 'As it was reported; `reported_by` says by whom.',
      resolve: (row) => row.checkpoint,
    }),
  }),
})
