/** Who asks, and at whose homeserver. Both faces read tokens here. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { forbidden, invalidParam, MatrixError } from '../src/errors.ts'
import { type Context, type Host, type Identity, type Instance, requireActive, requireUnlocked } from '../src/graphql/context.ts'
import type { Auth } from './endpoint.ts'

type Query = Readonly<Record<string, string | string[] | undefined>>

/** "Authorization: Bearer TheTokenHere", else the query parameter `access_token`. An empty one is none. */
export function readToken(headers: IncomingMessage['headers'], query: Query): string | null {
  return readBearer(headers) ?? one(query, 'access_token') ?? null
}

function readBearer(headers: IncomingMessage['headers']): string | null {
  return /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1] ?? null
}

/** `/_hungryserv/{prefix}`: a homeserver by its name, or as bridge managers say it, by the localpart of its owner. */
async function instanceOf(host: Host, prefix: string): Promise<Instance> {
  try {
    return await host.instance(prefix)
  } catch (error) {
    if (!(error instanceof MatrixError) || error.errcode !== 'M_NOT_FOUND') throw error
    const owned = await host.byOwner(prefix, host.config.userDomain)
    if (owned) return owned
    throw error
  }
}

/** Another program of the operator's. It is told 403 where a person would be told 401; without a secret in the settings always. */
async function manage(host: Host, given: string | null, prefix: string | null): Promise<Identity> {
  if (given === null) throw new MatrixError('M_MISSING_TOKEN', 'The management secret is missing', {}, 403)
  const { managementSecret } = host.config
  if (managementSecret === null || !sameSecret(given, managementSecret))
    throw new MatrixError('M_UNKNOWN_TOKEN', 'This is not the management secret', {}, 403)
  const instance = requireActive(host, prefix === null ? await host.defaultInstance() : await instanceOf(host, prefix))
  const actor = { user: null, userId: '', device: null, appservice: null, puppet: false, admin: true, tokenHash: '' }
  return { instance, actor }
}

/** Takes as long for a guess that is nearly right. */
function sameSecret(one: string, other: string): boolean {
  const [a, b] = [one, other].map((secret) => createHash('sha256').update(secret).digest())
  return timingSafeEqual(a!, b!)
}

/**
 * The token's record decides, and a prefix must agree with it; then an as_token may name whom it acts as
 * (https://spec.matrix.org/v1.19/application-service-api/#identity-assertion).
 */
async function authenticate(host: Host, token: string, prefix: string | null, query: Query, ip: string): Promise<Identity> {
  const identity = await host.authenticate(token, prefix, ip)
  if (identity.actor.appservice === null) return identity
  const userId = identifier(query, 'user_id')
  const deviceId = identifier(query, 'device_id') ?? identifier(query, 'org.matrix.msc3202.device_id')
  if (userId === undefined && deviceId === undefined) return identity
  const as = { ...(userId !== undefined && { userId }), ...(deviceId !== undefined && { deviceId }) }
  return { instance: identity.instance, actor: await host.masquerade(identity.instance, identity.actor, as) }
}

/** The instance and the actor of a request, before its body is read. Null: its owner is named in the body. */
export async function identify(
  host: Host,
  request: { readonly auth: Auth; readonly puppet: boolean; readonly locked: boolean; readonly named: boolean },
  headers: IncomingMessage['headers'],
  query: Query,
  prefix: string | null,
  ip: string,
): Promise<Pick<Context, 'instance' | 'actor'> | null> {
  if (request.auth === 'management') return manage(host, readBearer(headers), prefix)
  const token = request.auth === 'none' ? null : readToken(headers, query)
  if (token === null) {
    if (request.auth !== 'none' && request.auth !== 'accessTokenOptional') throw new MatrixError('M_MISSING_TOKEN', 'Missing access token')
    if (prefix !== null) return { instance: requireActive(host, await instanceOf(host, prefix)), actor: null }
    return request.named ? null : { instance: await host.defaultInstance(), actor: null }
  }
  const identity = await authenticate(host, token, prefix, query, ip)
  if (request.auth === 'appservice' && identity.actor.appservice === null) throw forbidden('Only appservices may do this')
  if (!request.locked) requireUnlocked(identity)
  if (identity.actor.puppet && !request.puppet) throw forbidden('An appservice may not do this for the owner')
  return identity
}

/** `?ts=`, which only appservices may give. https://spec.matrix.org/v1.19/application-service-api/#timestamp-massaging */
export function readTimestamp(query: Query, actor: Context['actor']): number | undefined {
  const text = one(query, 'ts')
  if (text === undefined || actor === null || actor.appservice === null) return undefined
  const ts = Number(text)
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(ts)) throw invalidParam('ts takes milliseconds since 1970')
  return ts
}

function identifier(query: Query, name: string): string | undefined {
  const text = one(query, name)
  if (text !== undefined && (text.includes('\0') || !text.isWellFormed()))
    throw invalidParam(`${name} holds a character that cannot be stored`)
  return text
}

function one(query: Query, name: string): string | undefined {
  const value = query[name]
  return (Array.isArray(value) ? value.at(-1) : value) || undefined
}
