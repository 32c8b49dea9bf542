/** Bridges: registering them, and what waits for them. */
import { configureBridge } from '../../appservices/bridge-types.ts'
import { bridgeConfigYaml, registrationYaml } from '../../appservices/config-writer.ts'
import { deliveryState } from '../../appservices/delivery.ts'
import { loginToken } from '../../appservices/login-token.ts'
import { pingBridge } from '../../appservices/ping.ts'
import { botOf, queueLength, waitingSince } from '../../appservices/queue.ts'
import { type GivenRegistration, readRegistration, wholeRegistration } from '../../appservices/registration.ts'
import {
  readBridge,
  readBridges,
  registerBridge,
  retryBridge,
  rotateBridgeTokens,
  setBridgeAddress,
  setBridgePaused,
} from '../../appservices/registrations.ts'
import { bridgeSockets } from '../../appservices/sockets.ts'
import { bridgeStates } from '../../appservices/status.ts'
import type { JsonObject } from '../../rules/values.ts'
import type { AppserviceRow } from '../../storage/tables.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'
import { BridgeState } from './bridge-states.ts'

const managers = 'For the owner and administrators.'

const BridgeStatus = builder.enumType('BridgeStatus', { values: { ACTIVE: { value: 'active' }, PAUSED: { value: 'paused' } } as const })

const BridgeSoftware = builder.enumType('BridgeSoftware', {
  values: { HUNGRY: { value: 'hungry' }, STANDARD: { value: 'standard' } } as const,
})

export const Bridge = builder.objectRef<AppserviceRow>('Bridge').implement({
  description: `An appservice of this homeserver. ${managers}`,
  fields: (t) => ({
    id: t.exposeID('id'),
    bot: t.id({ description: 'User ID of its bot.', resolve: (row, _, context) => botOf(context.instance, row) }),
    url: t.exposeString('url', {
      nullable: true,
      description: 'Where transactions go; "websocket" when the bridge connects to us; null: nowhere.',
    }),
    status: t.field({ type: BridgeStatus, resolve: (row) => (row.status === 'paused' ? 'paused' : 'active') }),
    type: t.exposeString('bridgeType', {
      nullable: true,
      description: 'What it was configured as: whatsapp, signal…; null when nobody said.',
    }),
    createdAt: t.field({ type: 'Timestamp', resolve: (row) => row.createdAt }),
    connected: t.boolean({
      description: 'Whether it has its websocket open.',
      resolve: (row, _, context) => bridgeSockets(context.instance).isConnected(row.key),
    }),
    queueLength: t.int({
      description: 'Events, receipts, messages to devices and changes of keys that it has not acknowledged.',
      resolve: (row, _, context) => queueLength(context.instance, row),
    }),
    oldestUndelivered: t.field({
      type: 'Timestamp',
      nullable: true,
      description:
        'Since when the oldest of what it has not acknowledged waits, by the clock of the homeserver and not by origin_server_ts; null when nothing waits.',
      resolve: (row, _, context) => waitingSince(context.instance, row),
    }),
    lastError: t.string({
      nullable: true,
      description: 'Why the last failed attempt to deliver failed; null when none did since the homeserver was opened.',
      resolve: (row, _, context) => deliveryState(context.instance, row.key).lastError,
    }),
    lastErrorAt: t.field({
      type: 'Timestamp',
      nullable: true,
      resolve: (row, _, context) => deliveryState(context.instance, row.key).lastErrorAt,
    }),
    failures: t.int({
      description: 'Failed attempts of the transaction under way; 0 when deliveries work.',
      resolve: (row, _, context) => deliveryState(context.instance, row.key).failures,
    }),
    states: t.field({
      type: [BridgeState],
      description:
        'The newest state of the bridge itself, when there is one, then of each login. A bridge that has left a transaction unanswered or refused for 30 s, or has had no websocket for as long, is BRIDGE_UNREACHABLE until it answers.',
      resolve: (row, _, context) => bridgeStates(context.instance, row.key),
    }),
    registration: t.field({
      type: 'JsonObject',
      description: 'With its tokens, as the Matrix specification has it.',
      resolve: (row) => wholeRegistration(row),
    }),
    registrationYaml: t.string({ description: 'The registration as a file for the bridge.', resolve: (row) => registrationYaml(row) }),
    configYaml: t.string({
      description:
        "A configuration that bridges on mautrix-go's bridgev2 run with. Errors: M_INVALID_PARAM when the registration has no namespace of ghosts on the bridge domain.",
      args: {
        homeserverUrl: t.arg.string({
          description: 'Where the bridge reaches this homeserver. Usual: its public address, or the one it listens at.',
        }),
        network: t.arg({ type: 'JsonObject', description: "The connector's own section." }),
        commandPrefix: t.arg.string(),
        software: t.arg({ type: BridgeSoftware, description: 'Usual: HUNGRY. STANDARD: nothing that only Hungryserv can do.' }),
      },
      resolve: (row, args, context) => bridgeConfigYaml(context.instance, row, args),
    }),
  }),
})

/** An explicit url counts more than the registration's; null leaves it as it is. */
function givenRegistration(args: {
  id: string
  url?: string | null | undefined
  registration?: JsonObject | null | undefined
}): GivenRegistration {
  return readRegistration({ ...args.registration, id: args.id, ...(typeof args.url === 'string' && { url: args.url }) })
}

builder.queryFields((t) => ({
  bridges: t.field({
    type: [Bridge],
    description: `All bridges of this homeserver. ${managers} Errors: M_FORBIDDEN.`,
    resolve: (_, __, context) => readBridges(context.instance, requireActor(context)),
  }),
  bridge: t.field({
    type: Bridge,
    description: `${managers} Errors: M_FORBIDDEN, M_NOT_FOUND.`,
    args: { id: t.arg.string({ required: true }) },
    resolve: (_, { id }, context) => readBridge(context.instance, requireActor(context), id),
  }),
  loginToken: t.string({
    description: `The provisioning secret of bridges that bbctl configures, one for all of them. It opens nothing here. ${managers} Errors: M_FORBIDDEN.`,
    resolve: (_, __, context) => loginToken(context.instance, requireActor(context)),
  }),
}))

builder.mutationFields((t) => ({
  registerBridge: t.field({
    type: Bridge,
    description: `Makes a bridge or changes the one with this id: what is left out is made for a new one and stays as it is for another, so the same again changes nothing. ${managers} The address of an owner's bridge lies within the networks of APPSERVICE_NETWORKS. Errors: M_FORBIDDEN, M_INVALID_PARAM, M_EXCLUSIVE, M_RESOURCE_LIMIT_EXCEEDED for more than 1 000 bridges.`,
    args: {
      id: t.arg.string({ required: true, description: 'a-z, A-Z, 0-9 and ._=/+-' }),
      url: t.arg.string({ description: 'An http or https address, or "websocket". "": nothing is delivered.' }),
      registration: t.arg({
        type: 'JsonObject',
        description:
          'As the Matrix specification has it. Usual: a bot `<id>bot`, ghosts `<id>_…`, receive_ephemeral, and org.matrix.msc3202 unless it has an as_token.',
      }),
      withLoginToken: t.arg.boolean({ description: 'Its provisioning API is asked with the `loginToken`, as bbctl configures it.' }),
    },
    resolve: async (_, args, context) => {
      const actor = requireActor(context)
      const setup = args.withLoginToken ? { provisioningSecret: await loginToken(context.instance, actor) } : {}
      return registerBridge(context.instance, actor, givenRegistration(args), setup)
    },
  }),
  configureBridge: t.field({
    type: Bridge,
    description: `Registers a bridge of a type (whatsapp, signal…) unless it is registered; its configYaml is all that it needs. ${managers} Errors: M_FORBIDDEN, M_INVALID_PARAM, M_EXCLUSIVE, M_RESOURCE_LIMIT_EXCEEDED for more than 1 000 bridges.`,
    args: {
      type: t.arg.string({ required: true }),
      id: t.arg.string({ description: 'Usual: the type.' }),
      url: t.arg.string({ description: 'Usual: "websocket", for all that can.' }),
      http: t.arg.boolean({ description: 'It is pushed to: at its address, or at the port of its type on 127.0.0.1.' }),
    },
    resolve: (_, args, context) => configureBridge(context.instance, requireActor(context), args),
  }),
  setBridgeAddress: t.field({
    type: Bridge,
    description: `Where transactions go from now on; null: nowhere. ${managers} Errors: M_FORBIDDEN, M_NOT_FOUND, M_INVALID_PARAM.`,
    args: { id: t.arg.string({ required: true }), url: t.arg.string() },
    resolve: (_, { id, url }, context) => setBridgeAddress(context.instance, requireActor(context), id, url || null),
  }),
  pauseBridge: t.field({
    type: Bridge,
    description: `Deliveries rest and are made up for when it goes on. ${managers} Errors: M_FORBIDDEN, M_NOT_FOUND.`,
    args: { id: t.arg.string({ required: true }) },
    resolve: (_, { id }, context) => setBridgePaused(context.instance, requireActor(context), id, true),
  }),
  resumeBridge: t.field({
    type: Bridge,
    description: `${managers} Errors: M_FORBIDDEN, M_NOT_FOUND.`,
    args: { id: t.arg.string({ required: true }) },
    resolve: (_, { id }, context) => setBridgePaused(context.instance, requireActor(context), id, false),
  }),
  rotateBridgeTokens: t.field({
    type: Bridge,
    description: `New as_token and hs_token; the old as_token ends at once. ${managers} Errors: M_FORBIDDEN, M_NOT_FOUND.`,
    args: { id: t.arg.string({ required: true }) },
    resolve: (_, { id }, context) => rotateBridgeTokens(context.instance, requireActor(context), id),
  }),
  pingBridge: t.int({
    description: `Milliseconds until the bridge answered. For its own as_token, the owner and administrators. Errors: M_FORBIDDEN, M_URL_NOT_SET, M_BAD_STATUS, M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT.`,
    args: { id: t.arg.string({ required: true }), transactionId: t.arg.string() },
    resolve: async (_, args, context) => (await pingBridge(context.instance, requireActor(context), args)).durationMs,
  }),
  retryBridge: t.field({
    type: Bridge,
    description: `Delivers now what waits for the bridge: a wait ends, and an attempt that hangs is made anew. ${managers} Errors: M_FORBIDDEN, M_NOT_FOUND.`,
    args: { id: t.arg.string({ required: true }) },
    resolve: (_, { id }, context) => retryBridge(context.instance, requireActor(context), id),
  }),
}))
