/** Registering bridges while the server runs, and changing them: by the owner and by administrators. */
import { MatrixError, notFound } from '../errors.ts'
import { hashSecret, newSecret } from '../ids.ts'
import type { JsonObject } from '../rules/values.ts'
import type { AppserviceRow, UserRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { putAppservice, registrations } from '../users/registrations.ts'
import { instanceOfSecret, removeSecret } from '../users/sessions.ts'
import { findUser, makeUser } from '../users/users.ts'
import { adoptGhosts, adoptMessages } from './adoption.ts'
import { requireManager } from './managers.ts'
import {
  checkId,
  checkLocalpart,
  checkToken,
  checkUrl,
  devicesInTransactions,
  type GivenRegistration,
  storedContent,
  usualRegistration,
} from './registration.ts'

/** Of a homeserver. All their namespaces are asked for each user that somebody names. */
const mostBridges = 1_000

/** What is known of a bridge besides its registration; what is left out stays as it is. */
export type BridgeSetup = Partial<Pick<AppserviceRow, 'provisioningSecret' | 'bridgeType'>>

/**
 * Makes a bridge, or changes the one that has this id: what is given is set, so the same again changes nothing. A new one gets tokens, a bot
 * and namespaces of its own where none are given. Errors: M_FORBIDDEN, M_INVALID_PARAM, M_EXCLUSIVE when the bot's name is taken,
 * M_RESOURCE_LIMIT_EXCEEDED for more than 1 000 bridges.
 */
export async function registerBridge(
  instance: Instance,
  actor: Actor,
  given: GivenRegistration,
  setup: BridgeSetup = {},
): Promise<AppserviceRow> {
  const by = requireManager(instance, actor)
  checkId(given.id)
  checkToken('as_token', given.asToken)
  checkToken('hs_token', given.hsToken)
  // Empty says nowhere, as in a registration file.
  const url = given.url ? checkUrl(instance, given.url, by) : given.url === undefined ? undefined : null
  const tokens = newTokens(instance)
  const register = () =>
    command(instance, (decision) => {
      const standing = decision.find('appservice', { id: given.id })
      return standing
        ? changeAppservice(decision, standing, given, setup, url, by)
        : makeAppservice(decision, { ...tokens, ...given, others: othersOf(given) }, setup, url ?? null, by)
    })
  const row = await (given.asToken ? claimToken(instance, given.asToken, register) : register())
  await adoptGhosts(instance, row.key)
  await adoptMessages(instance, row)
  return row
}

/** The latest claim in each database. */
const claims = new WeakMap<Instance['shard'], Promise<unknown>>()

/**
 * A token says whose homeserver is meant, so no two may have the same. A decision sees its own homeserver only: the others are asked before
 * it, and one claim waits for the one before, in another process too. Errors: M_INVALID_PARAM.
 */
function claimToken<T>(instance: Instance, asToken: string, register: () => Promise<T>): Promise<T> {
  const { shard } = instance
  const claim = async (): Promise<T> => {
    const holder = await instanceOfSecret([shard], asToken)
    if (holder !== null && holder !== instance.name) throw tokenInUse()
    return register()
  }
  const before = claims.get(shard) ?? Promise.resolve()
  const claimed = before.catch(() => undefined).then(() => shard.exclusively('claim an as_token', claim))
  claims.set(shard, claimed)
  return claimed
}

function tokenInUse(): MatrixError {
  return new MatrixError('M_INVALID_PARAM', 'This as_token is in use already')
}

/** Made before the decision, which looks them up and so must find the same ones when it starts over. */
function newTokens(instance: Instance): { asToken: string; hsToken: string } {
  return { asToken: newSecret(instance.ports), hsToken: newSecret(instance.ports) }
}

function makeAppservice(
  decision: Decision,
  given: GivenRegistration & ReturnType<typeof newTokens>,
  setup: BridgeSetup,
  url: string | null,
  by: AppserviceRow['setBy'],
): AppserviceRow {
  const { instance } = decision
  if (registrations(decision).length >= mostBridges) {
    throw new MatrixError('M_RESOURCE_LIMIT_EXCEEDED', `There are ${mostBridges} bridges: delete some`)
  }
  const content = storedContent({}, { ...usualRegistration(instance, given.id), ...given })
  const key = decision.takePosition()
  const bot = makeBot(decision, key, checkLocalpart(content['sender_localpart']))
  const row: AppserviceRow = {
    instance: instance.key,
    key,
    id: given.id,
    asToken: given.asToken,
    hsToken: given.hsToken,
    url,
    bot: bot.key,
    registration: JSON.stringify(content),
    setBy: by,
    status: 'active',
    // It hears of what happens from now on.
    cursor: key,
    createdAt: decision.now,
    position: key,
    provisioningSecret: null,
    bridgeType: null,
    ...setup,
  }
  putAsToken(decision, row)
  return changed(decision, row)
}

const settable = ['asToken', 'hsToken', 'registration', 'url', 'setBy', 'provisioningSecret', 'bridgeType'] as const

function changeAppservice(
  decision: Decision,
  standing: AppserviceRow,
  given: GivenRegistration,
  setup: BridgeSetup,
  url: string | null | undefined,
  by: AppserviceRow['setBy'],
): AppserviceRow {
  const before = JSON.parse(standing.registration) as JsonObject
  const content = storedContent(before, given)
  if (content['sender_localpart'] !== before['sender_localpart']) {
    throw new MatrixError('M_INVALID_PARAM', 'The sender_localpart of a bridge cannot change: delete it and register it again')
  }
  const row: AppserviceRow = {
    ...standing,
    asToken: given.asToken ?? standing.asToken,
    hsToken: given.hsToken ?? standing.hsToken,
    registration: JSON.stringify(content),
    ...setup,
    ...(url === undefined ? {} : addressBy(standing, url, by)),
  }
  const same = settable.every((column) => row[column] === standing[column])
  if (same) return standing
  if (row.asToken !== standing.asToken) {
    removeSecret(decision, hashSecret(standing.asToken))
    putAsToken(decision, row)
  }
  return changed(decision, row)
}

/** A registration with a token of its own was written by its bridge, and says what that wants. */
function othersOf({ asToken, others = {} }: GivenRegistration): JsonObject {
  return asToken === undefined ? { ...devicesInTransactions, ...others } : others
}

/** Its bot lives on the bridge domain. A user that nobody logs in to and no other bridge has is taken. */
function makeBot(decision: Decision, appservice: number, localpart: string): UserRow {
  const userId = `@${localpart}:${decision.instance.bridgeDomain}`
  const user = findUser(decision, userId)
  const others = registrations(decision)
  const taken = user && (user.kind === 'person' || others.some((other) => other.key === user.appservice))
  if (taken || others.some((other) => other.namespaces.users.exclusive(userId))) {
    throw new MatrixError('M_EXCLUSIVE', `${userId} belongs to somebody else`)
  }
  if (!user) return makeUser(decision, { userId, kind: 'bot', appservice })
  // The rooms it is in are counted for the bridge when it is adopted.
  const bot: UserRow = { ...user, kind: 'bot' }
  decision.put('user', bot)
  return bot
}

function putAsToken(decision: Decision, row: AppserviceRow): void {
  const hash = hashSecret(row.asToken)
  if (decision.get('secret', { hash })) throw tokenInUse()
  decision.put('secret', {
    hash,
    kind: 'appservice',
    instance: row.instance,
    user: row.bot,
    device: null,
    appservice: row.key,
    expiresAt: null,
  })
}

/** Puts the row and tells who delivers. */
function changed(decision: Decision, given: AppserviceRow): AppserviceRow {
  const { instance } = decision
  const row = { ...given, position: decision.takePosition() }
  putAppservice(decision, row)
  decision.announce('appservice', { appservices: [row.key] })
  decision.onCommitted(() => instance.upward.appserviceChanged(instance, row.key))
  return row
}

function change(
  instance: Instance,
  actor: Actor,
  id: string,
  change: (row: AppserviceRow, decision: Decision) => AppserviceRow,
): Promise<AppserviceRow> {
  requireManager(instance, actor)
  return command(instance, (decision) => {
    const row = findAppservice(decision, id)
    const next = change(row, decision)
    return next === row ? row : changed(decision, next)
  })
}

/** Errors: M_NOT_FOUND. */
function findAppservice(decision: Decision, id: string): AppserviceRow {
  const row = decision.find('appservice', { id })
  if (!row) throw notFound(`There is no bridge ${id}`)
  return row
}

/** null: nothing is delivered; "websocket"; else an address. Errors: M_FORBIDDEN, M_NOT_FOUND, M_INVALID_PARAM. */
export async function setBridgeAddress(instance: Instance, actor: Actor, id: string, given: string | null): Promise<AppserviceRow> {
  const by = requireManager(instance, actor)
  const url = given ? checkUrl(instance, given, by) : null
  return change(instance, actor, id, (row) => {
    const address = addressBy(row, url, by)
    return address.url === row.url && address.setBy === row.setBy ? row : { ...row, ...address }
  })
}

/** An operator's word counts also for what an owner had said; an owner who says the same again takes nothing from it. */
function addressBy(
  standing: Pick<AppserviceRow, 'url' | 'setBy'>,
  url: string | null,
  by: AppserviceRow['setBy'],
): Pick<AppserviceRow, 'url' | 'setBy'> {
  return url === standing.url && by === 'owner' ? { url, setBy: standing.setBy } : { url, setBy: by }
}

/** Paused: deliveries rest and are made up for when it goes on. The bridge's own requests are answered. */
export function setBridgePaused(instance: Instance, actor: Actor, id: string, paused: boolean): Promise<AppserviceRow> {
  const status = paused ? 'paused' : 'active'
  return change(instance, actor, id, (row) => (row.status === status ? row : { ...row, status }))
}

/** Delivers now what waits for it. Errors: M_FORBIDDEN, M_NOT_FOUND. */
export async function retryBridge(instance: Instance, actor: Actor, id: string): Promise<AppserviceRow> {
  const row = await readBridge(instance, actor, id)
  instance.upward.appserviceChanged(instance, row.key)
  return row
}

/** New as_token and hs_token; the old as_token ends at once. */
export function rotateBridgeTokens(instance: Instance, actor: Actor, id: string): Promise<AppserviceRow> {
  const tokens = newTokens(instance)
  return change(instance, actor, id, (row, decision) => {
    const next = { ...row, ...tokens }
    removeSecret(decision, hashSecret(row.asToken))
    putAsToken(decision, next)
    return next
  })
}

/** Errors: M_NOT_FOUND, M_FORBIDDEN. */
export async function readBridge(instance: Instance, actor: Actor, id: string): Promise<AppserviceRow> {
  requireManager(instance, actor)
  const row = await instance.storage.first('appservice', { id })
  if (!row) throw notFound(`There is no bridge ${id}`)
  return row
}

/** All bridges of the homeserver. Errors: M_FORBIDDEN. */
export async function readBridges(instance: Instance, actor: Actor): Promise<AppserviceRow[]> {
  requireManager(instance, actor)
  return instance.storage.find('appservice', { where: {}, orderBy: ['key'] })
}
