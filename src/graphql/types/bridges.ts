/** What bridges tell of themselves, and what they are asked. */
import { messageCheckpoints } from '../../appservices/checkpoints.ts'
import { execBridge } from '../../appservices/exec.ts'
import { askProvisioning } from '../../appservices/provisioning.ts'
import { reportBridgeState, reportCheckpoints } from '../../appservices/reports.ts'
import type { BridgeAnswer } from '../../appservices/sinks.ts'
import { globalState, type StatusChange, watchStatus } from '../../appservices/status.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { Bridge } from './appservices.ts'
import { MessageCheckpoint } from './bridge-states.ts'

const managers = 'For the owner and administrators.'

const BridgeStatusChange = builder.objectRef<StatusChange>('BridgeStatusChange').implement({
  description: 'What changed in the states of bridges, with its latest values, and what messages have got further.',
  fields: (t) => ({
    position: t.expose('position', { type: 'Position', description: '`after` of the next subscription.' }),
    bridges: t.field({ type: [Bridge], description: 'Those of which a state changed.', resolve: ({ bridges }) => bridges }),
    checkpoints: t.field({
      type: [MessageCheckpoint],
      description: 'Oldest first; at most 1 000, more come in a change of their own.',
      resolve: ({ checkpoints }) => checkpoints,
    }),
  }),
})

const ProvisioningAnswer = builder.objectRef<BridgeAnswer>('ProvisioningAnswer').implement({
  description: 'What a bridge answered to a request to its provisioning API.',
  fields: (t) => ({
    status: t.exposeInt('status'),
    body: t.field({
      type: 'JSON',
      nullable: true,
      description: 'What is no JSON as a string of base64.',
      resolve: ({ body }) => jsonOr64(body),
    }),
  }),
})

const ProvisioningMethod = builder.enumType('ProvisioningMethod', { values: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const })

function jsonOr64(body: Buffer): unknown {
  if (body.length === 0) return null
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return body.toString('base64')
  }
}

builder.queryFields((t) => ({
  messageCheckpoints: t.field({
    type: [MessageCheckpoint],
    description: `The newest steps that a message took, oldest first, as bridges and the homeserver itself reported them. ${managers} Errors: M_FORBIDDEN.`,
    args: { eventId: t.arg.string({ required: true }) },
    resolve: (_, { eventId }, context) => messageCheckpoints(context.instance, requireActor(context), eventId),
  }),
  bridgeGlobalState: t.field({
    type: 'JsonObject',
    description: `\`{bridgeState, remoteState: {login: state}}\`, as bridges report it: the same as \`states\` of a bridge. ${managers} Errors: M_FORBIDDEN, M_NOT_FOUND.`,
    args: { id: t.arg.string({ required: true }) },
    resolve: (_, { id }, context) => globalState(context.instance, requireActor(context), id),
  }),
}))

builder.mutationFields((t) => ({
  reportBridgeState: t.boolean({
    description: 'A bridge tells its state or that of a login. Needs an as_token. Errors: M_FORBIDDEN, M_BAD_JSON, M_TOO_LARGE.',
    args: {
      state: t.arg({ type: 'JsonObject', required: true }),
      id: t.arg.string({ description: 'Of the bridge: another one than that of the token is refused.' }),
      bridgeType: t.arg.string({ description: 'What it is from now on: whatsapp, signal…' }),
    },
    resolve: (_, { state, ...reporter }, context) => reportBridgeState(context.instance, requireActor(context), state, reporter),
  }),
  reportMessageCheckpoints: t.boolean({
    description:
      'A bridge tells how far messages got: a list of `{event_id, room_id, step, status, …}`. Left out without an error: the steps CLIENT and HOMESERVER, which only the homeserver says, and events that are not in `room_id` or in a room of this bridge. Needs an as_token. Errors: M_FORBIDDEN, M_BAD_JSON, M_INVALID_PARAM, M_TOO_LARGE.',
    args: { checkpoints: t.arg({ type: 'JSON', required: true }) },
    resolve: (_, { checkpoints }, context) => reportCheckpoints(context.instance, requireActor(context), checkpoints),
  }),
  execBridge: t.field({
    type: 'JsonObject',
    description: `Sends a command to the bridge over its websocket and answers with the data of its answer, which comes within 10 s. ${managers} Errors: M_FORBIDDEN, M_NOT_FOUND, M_INVALID_PARAM, FI.MAU.WS_NOT_CONNECTED, M_CONNECTION_TIMEOUT, M_LIMIT_EXCEEDED, M_UNKNOWN with its \`code\` and \`message\` when the bridge answers with an error.`,
    args: {
      id: t.arg.string({ required: true }),
      command: t.arg.string({ required: true }),
      data: t.arg({ type: 'JsonObject', required: true }),
    },
    resolve: (_, args, context) => execBridge(context.instance, requireActor(context), args),
  }),
  provisionBridge: t.field({
    type: ProvisioningAnswer,
    description: `Asks the provisioning API of a bridge as the viewer, over its websocket or at its address; the viewer's token stays here. ${managers} Errors: M_FORBIDDEN, M_NOT_FOUND, M_INVALID_PARAM, M_URL_NOT_SET, FI.MAU.WS_NOT_CONNECTED, M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT, M_LIMIT_EXCEEDED, M_BAD_STATUS when the bridge does not know its secret.`,
    args: {
      id: t.arg.string({ required: true }),
      method: t.arg({ type: ProvisioningMethod, required: true }),
      path: t.arg.string({ required: true, description: 'Behind `v3/`, with its percent-encoding: `login/flows`.' }),
      query: t.arg.string({ description: 'Without `?`.' }),
      body: t.arg({ type: 'JSON' }),
    },
    resolve: (_, { body, query, ...args }, context) => {
      const request = {
        ...args,
        query: query ?? '',
        contentType: 'application/json',
        body: body == null ? null : Buffer.from(JSON.stringify(body)),
      }
      return askProvisioning(context.instance, requireActor(context), request, context.signal)
    },
  }),
}))

builder.subscriptionFields((t) => ({
  bridgeStatus: t.field({
    type: BridgeStatusChange,
    description: `The states of bridges as they change, and checkpoints as they come, whether a bridge told them by POST or over its websocket, or the homeserver says it. ${managers} Errors, each of which ends it: M_FORBIDDEN, M_NOT_FOUND, M_UNKNOWN_TOKEN with the session, M_UNKNOWN with \`retry_after_ms\` when the homeserver closes (go on from the last position).`,
    args: {
      id: t.arg.string({ description: 'Only this bridge.' }),
      after: t.arg({
        type: 'Position',
        description: 'A position that was read before: everything behind it comes. Left out: from now on.',
      }),
    },
    extensions: { puppet: false },
    subscribe: (_, args, context) => watchStatus(context.instance, requireActor(context), args, context.signal),
    resolve: (change) => change,
  }),
}))
