/** What bridges report, as it is shown. */
import { stateEvent } from '../../appservices/reports.ts'
import type { BridgeStateRow, CheckpointRow } from '../../storage/tables.ts'
import { builder } from '../builder.ts'

export const BridgeState = builder.objectRef<BridgeStateRow>('BridgeState').implement({
  description: 'The newest state of a bridge or of one of its logins.',
  fields: (t) => ({
    remoteId: t.exposeString('remoteId', { description: 'The login on the remote network; empty for the bridge itself.' }),
    stateEvent: t.string({ description: 'CONNECTED, BAD_CREDENTIALS…', resolve: (row) => stateEvent(JSON.parse(row.state)) }),
    reportedAt: t.field({ type: 'Timestamp', resolve: (row) => row.ts }),
    state: t.field({ type: 'JsonObject', description: 'As the bridge sent it.', resolve: (row) => row.state }),
  }),
})

export const MessageCheckpoint = builder.objectRef<CheckpointRow>('MessageCheckpoint').implement({
  description: 'How far a message got on its way to the remote network.',
  fields: (t) => ({
    eventId: t.exposeID('eventId'),
    step: t.exposeString('step', { description: 'CLIENT, HOMESERVER, BRIDGE, DECRYPTED, REMOTE or COMMAND.' }),
    status: t.exposeString('status', { description: 'SUCCESS, WILL_RETRY, PERM_FAILURE, UNSUPPORTED, TIMEOUT…' }),
    checkpoint: t.field({
      type: 'JsonObject',
      description: 'As it was reported; `reported_by` says by whom.',
      resolve: (row) => row.checkpoint,
    }),
  }),
})
