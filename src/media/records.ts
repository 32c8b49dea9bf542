/** What is known about media besides its bytes. https://spec.matrix.org/v1.19/client-server-api/#content-repository */
import { MatrixError, notFound } from '../errors.ts'
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

/** An id to upload to within 24 hours: an event may name it before the bytes are here. Errors: M_LIMIT_EXCEEDED. */
export async function createMedia(instance: Instance, actor: Actor): Promise<{ contentUri: string; unusedExpiresAt: number }> {
  const now = instance.ports.now()
  const unused = actor.user === null ? 0 : await instance.storage.count('media', { user: actor.user, expiresAt: { gte: now } })
  if (unused >= mostUnused)
    throw new MatrixError('M_LIMIT_EXCEEDED', 'Too many created media wait for their upload', { retry_after_ms: 60_000 })
  const expired = await instance.storage.find('media', { where: { expiresAt: { lt: now - unusedLifetimeMs } }, limit: mostDropped })
  const mediaId = newMediaId(instance)
  const unusedExpiresAt = now + unusedLifetimeMs
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
    })
  })
  return { contentUri: contentUri(instance, mediaId), unusedExpiresAt }
}

export function putMedia(decision: Decision, media: Omit<MediaRow, 'instance'>): void {
  const instance = decision.instance.key
  decision.put('media', { instance, ...media })
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
