/** Bytes first, then the record: what has a record can be read. https://spec.matrix.org/v1.19/client-server-api/#content-repository */
import { rm } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { forbidden, invalidParam, MatrixError, notFound } from '../errors.ts'
import { hashSecret } from '../ids.ts'
import { isStorable } from '../rules/event-limits.ts'
import type { MediaRow } from '../storage/tables.ts'
import { command } from '../stream/command.ts'
import { type Instance, local } from '../stream/instance.ts'
import type { Actor } from '../users/actor.ts'
import { actingUser, requireUser } from '../users/users.ts'
import { blobPath, newMediaId, tooLarge, writeBlob } from './blobs.ts'
import { type ContentUri, contentUri, findMedia, putMedia } from './records.ts'

export interface Upload {
  readonly contentType: string | null
  readonly fileName: string | null
  /** as announced; null when it was not */
  readonly sizeBytes: number | null
  readonly body: Readable
}

/** Longest content type and file name kept, in characters. */
const longestName = 255

/** Errors: M_TOO_LARGE, before the body is read where its size is announced. */
export async function uploadMedia(instance: Instance, actor: Actor, upload: Upload): Promise<{ contentUri: string }> {
  const described = describe(instance, upload)
  const mediaId = newMediaId(instance)
  await keep(instance, mediaId, upload, (sizeBytes) =>
    command(instance, (decision) => {
      const now = decision.now
      putMedia(decision, {
        mediaId,
        user: actingUser(decision, actor).key,
        ...described,
        sizeBytes,
        createdAt: now,
        uploadedAt: now,
        expiresAt: null,
      })
    }),
  )
  return { contentUri: contentUri(instance, mediaId) }
}

/** Media ids that are being uploaded to. This process alone has the instance, so its memory is enough. */
const underWay = local(() => new Set<string>())

/**
 * Uploads to an id made by createMedia, once. Errors: M_NOT_FOUND for an unknown or expired id, M_FORBIDDEN for another user's,
 * M_CANNOT_OVERWRITE_MEDIA, M_TOO_LARGE.
 */
export function uploadToCreated(instance: Instance, actor: Actor, uri: ContentUri, upload: Upload): Promise<boolean> {
  const user = requireUser(actor)
  return fill(instance, uri, upload, (row) => {
    if (row.user !== user) throw forbidden('Only who created it may upload it')
  })
}

/**
 * The same for who holds the address that createMedia handed out (MSC3870): the token in it stands for whoever created the id.
 * Errors: M_NOT_FOUND, also for a wrong token; M_CANNOT_OVERWRITE_MEDIA, M_TOO_LARGE.
 */
export function uploadByToken(instance: Instance, mediaId: string, token: string, upload: Upload): Promise<boolean> {
  const hash = hashSecret(token)
  return fill(instance, { serverName: instance.userDomain, mediaId }, upload, (row) => {
    if (row.uploadHash !== hash) throw notFound('Media not found')
  })
}

/**
 * Says that all bytes were sent to that address; they count from when they came. `fileName` counts where the upload brought none. Errors: M_NOT_FOUND, M_FORBIDDEN for another user's,
 * M_NOT_YET_UPLOADED when nothing came.
 */
export async function completeUpload(instance: Instance, actor: Actor, uri: ContentUri, fileName: string | null): Promise<string> {
  const row = await findMedia(instance, uri)
  if (row.user !== requireUser(actor)) throw forbidden('Only who created it may complete it')
  if (row.sizeBytes === null) throw new MatrixError('M_NOT_YET_UPLOADED', 'Media has not been uploaded yet')
  if (row.fileName === null && fileName) {
    await command(instance, (decision) => {
      const now = decision.get('media', { mediaId: row.mediaId })
      if (now?.fileName === null) putMedia(decision, { ...now, fileName: nameOf(fileName) })
    })
  }
  return contentUri(instance, row.mediaId)
}

/** `check` throws unless the row may be uploaded to by who asks. */
async function fill(instance: Instance, uri: ContentUri, upload: Upload, check: (row: MediaRow) => void): Promise<boolean> {
  const { mediaId } = uri
  const uploading = underWay(instance)
  const found = await findMedia(instance, uri)
  check(found)
  requireUnused(found)
  const described = describe(instance, upload)
  if (uploading.has(mediaId)) throw overwrites()
  uploading.add(mediaId)
  try {
    await keep(instance, mediaId, upload, (sizeBytes) =>
      command(instance, (decision) => {
        const row = decision.get('media', { mediaId })
        if (!row) throw notFound('Media not found')
        check(row)
        requireUnused(row)
        putMedia(decision, { ...row, ...described, sizeBytes, uploadedAt: decision.now, expiresAt: null, uploadHash: null })
        decision.onCommitted(() => wakeReaders(instance, mediaId))
      }),
    )
    return true
  } finally {
    uploading.delete(mediaId)
  }
}

function requireUnused(row: MediaRow): void {
  if (row.sizeBytes !== null) throw overwrites()
}

function overwrites(): MatrixError {
  return new MatrixError('M_CANNOT_OVERWRITE_MEDIA', 'Media cannot be overwritten')
}

function describe(instance: Instance, upload: Upload): Pick<MediaRow, 'contentType' | 'fileName'> {
  const most = instance.config.maxUploadBytes
  if (upload.sizeBytes !== null && upload.sizeBytes > most) throw tooLarge(most)
  const { contentType, fileName } = upload
  return { contentType: contentType && contentType.length <= longestName ? contentType : null, fileName: fileName && nameOf(fileName) }
}

function nameOf(fileName: string): string {
  if (!isStorable(fileName)) throw invalidParam('filename holds a character that cannot be stored')
  return Array.from(fileName).slice(0, longestName).join('')
}

async function keep(instance: Instance, mediaId: string, upload: Upload, record: (sizeBytes: number) => Promise<void>): Promise<void> {
  const path = blobPath(instance, mediaId)
  const sizeBytes = await writeBlob(instance, path, upload.body, instance.config.maxUploadBytes)
  try {
    await record(sizeBytes)
  } catch (error) {
    // After 503 the record may be durable all the same.
    if (error instanceof MatrixError && error.status < 500) await rm(path, { force: true })
    throw error
  }
}

const readersOf = local(() => new Map<string, Set<() => void>>())

function wakeReaders(instance: Instance, mediaId: string): void {
  for (const wake of readersOf(instance).get(mediaId) ?? []) wake()
}

/** Waits longest; what clients ask for beyond it is cut. */
const longestWaitMs = 60_000
export const usualWaitMs = 20_000

/**
 * The media once it is uploaded. Errors: M_NOT_FOUND; M_NOT_YET_UPLOADED when it is not within the time, or the reader is gone.
 */
export async function uploadedMedia(
  instance: Instance,
  uri: ContentUri,
  wait: { timeoutMs: number; signal: AbortSignal },
): Promise<MediaRow> {
  const readers = readersOf(instance)
  const signal = AbortSignal.any([wait.signal, instance.leaving])
  const { promise, resolve } = Promise.withResolvers<void>()
  const waiting = readers.get(uri.mediaId) ?? new Set()
  // Registered before the first look, so that no upload slips between.
  readers.set(uri.mediaId, waiting.add(resolve))
  const cancel = instance.ports.timer(Math.min(wait.timeoutMs, longestWaitMs), resolve)
  signal.addEventListener('abort', () => resolve(), { once: true })
  try {
    const row = await findMedia(instance, uri)
    if (row.sizeBytes !== null) return row
    if (wait.timeoutMs > 0 && !signal.aborted) await promise
    const later = await findMedia(instance, uri)
    if (later.sizeBytes === null) throw new MatrixError('M_NOT_YET_UPLOADED', 'Media has not been uploaded yet')
    return later
  } finally {
    cancel()
    waiting.delete(resolve)
    if (waiting.size === 0) readers.delete(uri.mediaId)
  }
}
