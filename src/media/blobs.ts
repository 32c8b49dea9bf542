/** The bytes of media, as files: `<data>/media/<instance>/<first two letters>/<media id>`. Nothing is ever held whole in memory. */
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { MatrixError } from '../errors.ts'
import type { Instance } from '../stream/instance.ts'

/** 192 random bits: who knows the id of unauthenticated media may read it. */
export function newMediaId(instance: Instance): string {
  return instance.ports.random(24).toString('base64url')
}

export function isMediaId(text: string): boolean {
  return /^[A-Za-z0-9_-]{1,255}$/.test(text)
}

export function blobPath(instance: Instance, mediaId: string): string {
  return join(folderOf(instance), mediaId.slice(0, 2), mediaId)
}

/** Where a thumbnail of it stands; `name` tells its size and kind. */
export function thumbnailPath(instance: Instance, mediaId: string, name: string): string {
  return join(folderOf(instance), 'thumbnails', mediaId.slice(0, 2), `${mediaId}-${name}`)
}

/** What uploads left that an earlier process did not end. Those of this process may be under way: they have a folder of their own. */
export async function removeUnfinishedUploads(instance: Instance): Promise<void> {
  const folder = join(folderOf(instance), 'unfinished')
  const names = await readdir(folder).catch(() => [])
  for (const name of names) if (name !== thisProcess) await rm(join(folder, name), { recursive: true, force: true })
}

/** A process id alone comes again, in a container at every start. */
const thisProcess = `${process.pid}-${Math.round(performance.timeOrigin)}`

/** When the instance is deleted. */
export async function removeAllMedia(instance: Pick<Instance, 'key' | 'config'>): Promise<void> {
  await rm(folderOf(instance), { recursive: true, force: true })
}

function folderOf(instance: Pick<Instance, 'key' | 'config'>): string {
  // The key is never used again; the name may be.
  return join(instance.config.dataDir, 'media', String(instance.key))
}

function unfinishedFolder(instance: Instance): string {
  return join(folderOf(instance), 'unfinished', thisProcess)
}

/**
 * Writes a body under `path`, whole or not at all: to a file beside it that is made durable before it takes the name.
 * Resolves with its size. Errors: M_TOO_LARGE; M_UNKNOWN (400) when the body was cut off.
 */
export async function writeBlob(instance: Instance, path: string, body: Readable, mostBytes: number): Promise<number> {
  return writeWhole(instance, path, (file) => copy(body, file, mostBytes))
}

export async function writeBytes(instance: Instance, path: string, bytes: Uint8Array): Promise<void> {
  await writeWhole(instance, path, async (file) => {
    await writeAll(file, bytes)
    return bytes.length
  })
}

async function writeWhole(instance: Instance, path: string, fill: (file: FileHandle) => Promise<number>): Promise<number> {
  const folder = unfinishedFolder(instance)
  await mkdir(folder, { recursive: true })
  const unfinished = join(folder, instance.ports.random(16).toString('hex'))
  const file = await open(unfinished, 'wx', 0o600)
  try {
    let sizeBytes: number
    try {
      sizeBytes = await fill(file)
      await file.sync()
    } finally {
      await file.close()
    }
    await mkdir(dirname(path), { recursive: true })
    await rename(unfinished, path)
    await syncFolder(dirname(path))
    return sizeBytes
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  }
}

async function copy(body: Readable, file: FileHandle, mostBytes: number): Promise<number> {
  let sizeBytes = 0
  const chunks = body.iterator({ destroyOnReturn: false })
  for (;;) {
    let next: IteratorResult<Uint8Array>
    try {
      next = await chunks.next()
    } catch {
      throw new MatrixError('M_UNKNOWN', 'The upload was cut off', {}, 400)
    }
    if (next.done) return sizeBytes
    sizeBytes += next.value.length
    if (sizeBytes > mostBytes) {
      // The rest is read and dropped, or the client would never look for the answer.
      await chunks.return?.()
      body.resume()
      throw tooLarge(mostBytes)
    }
    await writeAll(file, next.value)
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, offset, bytes.length - offset)
    offset += bytesWritten
  }
}

/** A rename is durable when its folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

export function tooLarge(mostBytes: number): MatrixError {
  return new MatrixError('M_TOO_LARGE', `Media has at most ${mostBytes} bytes here`)
}
