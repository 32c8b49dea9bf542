/**
 * The provisioning API of bridges, by which clients log in to networks. A request goes to the bridge over its websocket or to the address that its
 * registration names, and with the bridge's own secret: the client's token stays here.
 */
import { invalidParam, MatrixError } from '../errors.ts'
import { isObject, type Json, type JsonObject } from '../rules/values.ts'
import { type Instance, local } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { provisioningSecret } from './config-writer.ts'
import { sinksOf, targetOf } from './delivery.ts'
import { readBridge } from './registrations.ts'
import type { BridgeAnswer, BridgeRequest, Sinks, Target } from './sinks.ts'
import { bridgeSockets } from './sockets.ts'

/** A login may wait for somebody who scans a code. */
const answerMs = 180_000
/** Requests that one bridge may have unanswered. */
const mostRequests = 100
export const mostRequestBytes = 1_048_576
const mostQueryLength = 8_192

export interface ProvisioningRequest extends Omit<BridgeRequest, 'secret' | 'timeoutMs'> {
  /** of the bridge */
  readonly id: string
  /** behind `v3/`, as it was sent */
  readonly path: string
}

const underWay = local(() => new Map<number, number>())

/**
 * Asks a bridge as the actor. Errors: M_FORBIDDEN, M_NOT_FOUND, M_INVALID_PARAM (a path that is none), M_NOT_JSON (over a websocket), M_URL_NOT_SET,
 * FI.MAU.WS_NOT_CONNECTED, M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT, M_LIMIT_EXCEEDED, M_BAD_STATUS when it does not know its secret.
 */
export async function askProvisioning(
  instance: Instance,
  actor: Actor,
  request: ProvisioningRequest,
  signal: AbortSignal,
): Promise<BridgeAnswer> {
  const bridge = await readBridge(instance, actor, request.id)
  const path = provisioningPath(request.path)
  const query = queryFor(request.query, actor.userId)
  const sinks = sinksOf(instance)
  if (bridge.url === null || !sinks) throw new MatrixError('M_URL_NOT_SET', 'The bridge has no address')
  const wanted: BridgeRequest = { ...request, path, query, secret: provisioningSecret(bridge), timeoutMs: answerMs }
  const counts = underWay(instance)
  const count = counts.get(bridge.key) ?? 0
  if (count >= mostRequests) throw new MatrixError('M_LIMIT_EXCEEDED', 'Too many requests wait for this bridge', { retry_after_ms: 1_000 })
  counts.set(bridge.key, count + 1)
  try {
    const answer =
      bridge.url === 'websocket'
        ? await overWebsocket(instance, bridge.key, sinks.provisioningPrefix, wanted, signal)
        : await overHttp(sinks, targetOf({ ...bridge, url: bridge.url }), wanted, AbortSignal.any([signal, instance.leaving]))
    // A client takes 401 for the end of its own session.
    if (answer.status === 401)
      throw new MatrixError('M_BAD_STATUS', 'The bridge does not know its provisioning secret: write its configuration anew', {
        status: 401,
      })
    return answer
  } finally {
    const left = counts.get(bridge.key)! - 1
    if (left === 0) counts.delete(bridge.key)
    else counts.set(bridge.key, left)
  }
}

/**
 * Nothing but what lies below `v3/`, however often the bridge decodes it: no empty, `.` or `..` part. A part may hold an encoded slash, as
 * identifiers do. Errors: M_INVALID_PARAM.
 */
export function provisioningPath(given: string): string {
  const parts = given.split('/').map(decodePart)
  for (const part of parts) {
    const isPath = part === '' || part.split(/[/\\]/).some((piece) => piece === '.' || piece === '..')
    if (isPath || /%2e|%2f|%5c|%25/i.test(part) || /\p{Cc}/u.test(part))
      throw invalidParam('The path of a provisioning request has a part that may not be there')
  }
  return `v3/${parts.map(encodeURIComponent).join('/')}`
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw invalidParam('The path is not valid percent-encoded UTF-8')
  }
}

/** Who asks is said by us; tokens do not belong in there. */
function queryFor(given: string, userId: string): string {
  if (given.length > mostQueryLength) throw invalidParam('The query is too long')
  const query = new URLSearchParams(given)
  query.delete('access_token')
  query.set('user_id', userId)
  return query.toString()
}

async function overHttp(sinks: Sinks, target: Target, request: BridgeRequest, signal: AbortSignal): Promise<BridgeAnswer> {
  const outcome = await sinks.provision(target, request, signal)
  if (outcome.ok) return outcome.answer
  const errcode = outcome.why === 'timeout' ? 'M_CONNECTION_TIMEOUT' : 'M_CONNECTION_FAILED'
  throw new MatrixError(errcode, `The bridge cannot be asked: ${outcome.error}`)
}

/** `http_proxy`: the bridge runs the request through its own router. */
async function overWebsocket(
  instance: Instance,
  bridge: number,
  prefix: string,
  request: BridgeRequest,
  signal: AbortSignal,
): Promise<BridgeAnswer> {
  const { method, path, query, contentType, body, secret, timeoutMs } = request
  const data: JsonObject = {
    method,
    path: prefix + path,
    escaped_path: true,
    query,
    // Spelt as Go does, which looks for no other in headers that came ready made.
    headers: {
      Authorization: [`Bearer ${secret}`],
      Accept: ['application/json'],
      ...(body && { 'Content-Type': [contentType ?? 'application/json'] }),
    },
    body: body && jsonOf(body),
  }
  return answerOf(await bridgeSockets(instance).request(bridge, 'http_proxy', data, { timeoutMs, signal }))
}

function jsonOf(body: Buffer): Json {
  try {
    return JSON.parse(body.toString('utf8')) as Json
  } catch {
    throw new MatrixError('M_NOT_JSON', 'Over a websocket the body of a provisioning request is JSON')
  }
}

/** What is not JSON comes as a string of unpadded base64. */
function answerOf({ status, headers, body }: JsonObject): BridgeAnswer {
  if (typeof status !== 'number' || !Number.isInteger(status) || status < 200 || status > 599)
    throw new MatrixError('M_BAD_STATUS', 'The bridge answered without a status')
  const contentType = headerOf(headers, 'content-type')
  const isText = typeof body === 'string' && !/^application\/json\b/i.test(contentType ?? '')
  if (body === null || body === undefined) return { status, contentType, body: Buffer.alloc(0) }
  return { status, contentType, body: isText ? Buffer.from(body, 'base64') : Buffer.from(JSON.stringify(body)) }
}

function headerOf(headers: Json | undefined, name: string): string | null {
  if (!isObject(headers)) return null
  const [, value] = Object.entries(headers).find(([key]) => key.toLowerCase() === name) ?? []
  const first = Array.isArray(value) ? value[0] : value
  return typeof first === 'string' && /^[\x20-\x7e]{1,200}$/.test(first) ? first : null
}
