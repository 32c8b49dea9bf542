/** What is known about media besides its bytes. https://spec.matrix.org/v1.19/client-server-api/#content-repository */
import { invalidParam, MatrixError, notFound } from '../errors.ts'
import { hashSecret, newSecret } from '../ids.ts'
import { isStorable } from '../rules/event-limits.ts'
import type { Shard } from '../storage/storage.ts'
import type { MediaRow } from '../storage/tables.ts'
import { command, type Decision } from '../stream/command.ts'
import type { Instance } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { actingUser } from '../users/users.ts'
import { isMediaId, newMediaId } from './blobs.ts'

/** How long a created id waits for its upload. */
export const unusedLifetimeMs = 24 * 60 * 60_000

/** Created and not uploaded, per user: a bridge creates ids far ahead of its uploads. */
const mostUnused = 1_000
/** Expired ids dropped by each new one, so that they never pile up. */
const mostDropped = 100

export interface ContentUri {
  readonly serverName: string
  readonly mediaId: string
}

export function contentUri(instance: Instance, mediaId: string): string {
  return `mxc://${instance.userDomain}/${mediaId}`
}

/** Errors: M_INVALID_PARAM. */
export function parseContentUri(uri: string): ContentUri {
  const match = /^mxc:\/\/([^/]+)\/([^/?#]+)$/.exec(uri)
  if (!match) throw new MatrixError('M_INVALID_PARAM', `${uri} is not an mxc:// URI`)
  return { serverName: match[1]!, mediaId: match[2]! }
}

export interface CreatedMedia {
  readonly contentUri: string
  /** ms; null when it is uploaded already */
  readonly unusedExpiresAt: number | null
  /** ms; when the same was uploaded before: there is nothing left to upload */
  readonly uploadedAt: number | null
  /** stands for the user in an address to PUT the bytes to; null where the operator names no place for that */
  readonly uploadToken: string | null
}

/** Longest `com.beeper.unique_id`, in characters. */
const longestUniqueId = 255

/**
 * An id to upload to within 24 hours: an event may name it before the bytes are here. `uniqueId` says which content it will be: the same
 * bridge or person is given the media that has it. Errors: M_LIMIT_EXCEEDED, M_INVALID_PARAM.
 */
export async function createMedia(
  instance: Instance,
  actor: Actor,
  given: { readonly uniqueId?: string | null | undefined } = {},
): Promise<CreatedMedia> {
  const uniqueId = uniqueIdOf(actor, given.uniqueId)
  const known = uniqueId === null ? null : await sameMedia(instance, actor, uniqueId)
  if (known)
    return {
      contentUri: contentUri(instance, known.mediaId),
      unusedExpiresAt: known.expiresAt,
      uploadedAt: known.uploadedAt,
      uploadToken: null,
    }
  const now = instance.ports.now()
  const unused = actor.user === null ? 0 : await instance.storage.count('media', { user: actor.user, expiresAt: { gte: now } })
  if (unused >= mostUnused)
    throw new MatrixError('M_LIMIT_EXCEEDED', 'Too many created media wait for their upload', { retry_after_ms: 60_000 })
  const expired = await instance.storage.find('media', { where: { expiresAt: { lt: now - unusedLifetimeMs } }, limit: mostDropped })
  const mediaId = newMediaId(instance)
  const unusedExpiresAt = now + unusedLifetimeMs
  const token = instance.config.uploadUrl === null ? null : newSecret(instance.ports)
  await command(instance, (decision) => {
    const user = actingUser(decision, actor).key
    for (const row of expired) dropUnused(decision, row.mediaId)
    putMedia(decision, {
      mediaId,
      user,
      contentType: null,
      fileName: null,
      sizeBytes: null,
      createdAt: now,
      uploadedAt: null,
      expiresAt: unusedExpiresAt,
      uniqueId,
      uploadHash: token && hashSecret(token),
    })
  })
  return {
    contentUri: contentUri(instance, mediaId),
    unusedExpiresAt,
    uploadedAt: null,
    uploadToken: token,
  }
}

/** Whose content it is, and which: what two networks call alike is not the same. */
function uniqueIdOf(actor: Actor, uniqueId: string | null | undefined): string | null {
  if (!uniqueId) return null
  if (uniqueId.length > longestUniqueId || !isStorable(uniqueId)) throw invalidParam(`unique_id has at most ${longestUniqueId} characters`)
  return `${actor.appservice === null ? `user ${actor.user}` : `appservice ${actor.appservice}`} ${uniqueId}`
}

/** What is uploaded; else what the same user began. */
async function sameMedia(instance: Instance, actor: Actor, uniqueId: string): Promise<MediaRow | null> {
  const rows = await instance.storage.find('media', { where: { uniqueId }, orderBy: ['mediaId'], limit: mostDropped })
  const begun = () => rows.find((row) => row.user === actor.user && row.sizeBytes === null && !isExpired(instance, row))
  return rows.find((row) => row.sizeBytes !== null) ?? begun() ?? null
}

type NewMedia = Omit<MediaRow, 'instance' | 'uniqueId' | 'uploadHash'> & Partial<Pick<MediaRow, 'uniqueId' | 'uploadHash'>>

export function putMedia(decision: Decision, media: NewMedia): void {
  const instance = decision.instance.key
  decision.put('media', { uniqueId: null, uploadHash: null, ...media, instance })
  decision.put('mediaId', { mediaId: media.mediaId, instance })
}

function dropUnused(decision: Decision, mediaId: string): void {
  const row = decision.get('media', { mediaId })
  if (!row || row.sizeBytes !== null) return
  decision.remove('media', row)
  decision.remove('mediaId', { mediaId, instance: decision.instance.key })
}

/** Media of other servers is not fetched: not found, at once. Errors: M_NOT_FOUND. */
export async function findMedia(instance: Instance, { serverName, mediaId }: ContentUri): Promise<MediaRow> {
  const local = serverName === instance.userDomain || serverName === instance.bridgeDomain
  const row = local && isMediaId(mediaId) ? await instance.storage.first('media', { mediaId }) : null
  if (!row || isExpired(instance, row)) throw notFound('Media not found')
  return row
}

export function isExpired(instance: Instance, row: MediaRow): boolean {
  return row.sizeBytes === null && (row.expiresAt ?? 0) < instance.ports.now()
}

/** The name of the instance that has it: media ids are unique in the host. Null when none of the shards knows it. */
export async function instanceOfMedia(shards: readonly Shard[], mediaId: string): Promise<string | null> {
  if (!isMediaId(mediaId)) return null
  for (const shard of shards) {
    const [found] = await shard.lookup('mediaId', { where: { mediaId }, limit: 1 })
    const [instance] = found ? await shard.lookup('instance', { where: { key: found.instance }, limit: 1 }) : []
    if (instance?.name) return instance.name
  }
  return null
}
