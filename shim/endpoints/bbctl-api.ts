/**
 * What bbctl asks of its API server, at the plain paths that it uses: point `api.<domain>` at this server. Its login by e-mail is Beeper's; the
 * one by password is a Matrix login.
 */
import { forbidden } from '../../src/errors.ts'
import { isObject, type JsonObject } from '../../src/rules/values.ts'
import { endpoint, fixedReply, graphql } from '../endpoint.ts'
import { AnyObject } from '../shape.ts'

/** Asked before every command. Whatever cannot be known here is left out. */
export const whoamiOfBbctl = endpoint({
  method: 'GET',
  path: '/whoami',
  auth: 'accessToken',
  operation: graphql(`
    query BbctlWhoami($owner: ID!) {
      loginToken
      homeserverUrl
      viewer { admin }
      user(userId: $owner) { displayName createdAt }
      bridges { id type createdAt states { remoteId stateEvent reportedAt state } }
    }
  `),
  variables: ({ context }) => ({ owner: context.instance.ownerId }),
  response: (data, { context }) => {
    const { ownerId, name } = context.instance
    const username = ownerId.slice(1, ownerId.indexOf(':'))
    const hungryUrl = `${data.homeserverUrl ?? ''}/_hungryserv/${username}`
    const hungryserv = { username, bridge: 'hungryserv', stateEvent: 'RUNNING', source: 'hungryserv', reason: '', info: {} }
    return {
      user: {
        bridges: Object.fromEntries(data.bridges.map((bridge) => [bridge.id, bridgeAnswer(username, bridge)])),
        hungryserv: { ...unversioned, bridgeState: { ...hungryserv, createdAt: time(data.user?.createdAt ?? 0) }, remoteState: {} },
        asmuxData: { login_token: data.loginToken },
      },
      userInfo: {
        username,
        fullName: data.user?.displayName ?? '',
        email: '',
        channel: 'STABLE',
        isAdmin: data.viewer.admin,
        createdAt: time(data.user?.createdAt ?? 0),
        useHungryserv: true,
        bridgeClusterId: name,
        hungryUrl,
        hungryUrlDirect: hungryUrl,
      },
    }
  },
})

interface Bridge {
  readonly id: string
  readonly type: string | null
  readonly createdAt: number
  readonly states: readonly {
    readonly remoteId: string
    readonly stateEvent: string
    readonly reportedAt: number
    readonly state: unknown
  }[]
}

const unversioned = { version: '', configHash: '', otherVersions: [] }

function bridgeAnswer(username: string, { id, type, createdAt, states }: Bridge) {
  const own = states.find(({ remoteId }) => remoteId === '')
  const state = own ? stateOf(own.state) : {}
  return {
    ...unversioned,
    bridgeState: {
      username,
      bridge: id,
      stateEvent: own?.stateEvent ?? 'UNCONFIGURED',
      source: text(state['source']) ?? 'bridge',
      createdAt: time(own?.reportedAt ?? createdAt),
      reason: text(state['reason']) ?? '',
      info: isObject(state['info']) ? state['info'] : {},
      // All bridges here are run by somebody.
      isSelfHosted: true,
      bridgeType: type ?? '',
    },
    remoteState: Object.fromEntries(states.filter(({ remoteId }) => remoteId !== '').map((login) => [login.remoteId, loginAnswer(login)])),
  }
}

/** bbctl gives up at one field of another type than it knows. */
function loginAnswer({ remoteId, stateEvent, reportedAt, state: given }: Bridge['states'][number]) {
  const state = stateOf(given)
  return {
    state_event: stateEvent,
    timestamp: Number.isInteger(state['timestamp']) ? state['timestamp'] : Math.floor(reportedAt / 1_000),
    ttl: Number.isInteger(state['ttl']) ? state['ttl'] : 0,
    remote_id: remoteId,
    ...Object.fromEntries(
      ['source', 'error', 'message', 'remote_name', 'user_id', 'reason'].flatMap((name) =>
        typeof state[name] === 'string' ? [[name, state[name]]] : [],
      ),
    ),
    ...(isObject(state['info']) && { info: state['info'] }),
  }
}

/** It comes as text that is passed through. */
function stateOf(state: unknown): JsonObject {
  return JSON.parse(JSON.stringify(state)) as JsonObject
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function time(ms: number): string {
  return new Date(ms).toISOString()
}

/** bbctl marks a bridge as registered, with the bridge's as_token. */
export const reportStateOfBbctl = endpoint({
  method: 'POST',
  path: '/bridgebox/{user}/bridge/{bridge}/bridge_state',
  auth: 'appservice',
  body: AnyObject,
  operation: graphql(`
    mutation ReportStateOfBbctl($id: String!, $state: JsonObject!, $bridgeType: String) {
      reportBridgeState(id: $id, state: $state, bridgeType: $bridgeType)
    }
  `),
  variables: ({ params, body, context }) => {
    if (!context.instance.ownerId.startsWith(`@${params.user}:`))
      throw forbidden(`The bridges of ${params.user} are not at this homeserver`)
    const { bridgeType } = body as { bridgeType?: unknown }
    return { id: params.bridge, state: body as JsonObject, bridgeType: text(bridgeType) }
  },
  response: () => ({}),
})

export const deleteBridgeOfBbctl = endpoint({
  method: 'DELETE',
  path: '/bridge/{bridge}',
  auth: 'accessToken',
  operation: graphql(`mutation DeleteBeeperBridge($id: String!) { deleteBridge(id: $id) { id } }`),
  variables: ({ params }) => ({ id: params.bridge }),
  response: () => ({}),
})

const noEmail = { errcode: 'M_FORBIDDEN', error: 'There is no login by e-mail here: use "bbctl login-password"' }

export const startEmailLogin = fixedReply({ method: 'POST', path: '/user/login', status: 403, body: noEmail })
export const sendLoginEmail = fixedReply({ method: 'POST', path: '/user/login/email', status: 403, body: noEmail })
export const sendLoginCode = fixedReply({ method: 'POST', path: '/user/login/response', status: 403, body: noEmail })
