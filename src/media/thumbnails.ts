/** Small copies of images: made once, kept. https://spec.matrix.org/v1.19/client-server-api/#thumbnails */
import { stat } from 'node:fs/promises'
import type { Sharp } from 'sharp'
import type { MediaRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { blobPath, thumbnailPath, writeBytes } from './blobs.ts'

export interface ThumbnailRequest {
  /** pixels */
  readonly width: number
  readonly height: number
  readonly method: 'crop' | 'scale'
  /** an image that moves may be given as it is */
  readonly animated: boolean
}

/** A file to be served. */
export interface ServedFile {
  readonly path: string
  readonly sizeBytes: number
  readonly contentType: string
  /** changes with the bytes, which never change */
  readonly version: string
  readonly fileName: string | null
}

export function originalFile(instance: Instance, media: MediaRow): ServedFile {
  return {
    path: blobPath(instance, media.mediaId),
    sizeBytes: media.sizeBytes ?? 0,
    contentType: media.contentType ?? 'application/octet-stream',
    version: media.mediaId,
    fileName: media.fileName,
  }
}

/** The sizes of the specification; "the server … may return … a thumbnail … larger than requested". */
const sizes = [
  [32, 32],
  [96, 96],
  [320, 240],
  [640, 480],
  [800, 600],
] as const

/** An image with more is not decoded: a small file can hold a huge one. */
const mostPixels = 50_000_000
/** Images decoded at the same time in the process; each takes tens of megabytes. */
const mostAtOnce = 2

/** What is no image that can be decoded safely is given as it is. */
export async function thumbnailOf(instance: Instance, media: MediaRow, request: ThumbnailRequest): Promise<ServedFile> {
  const [width, height] = sizes.find(([w, h]) => w >= request.width && h >= request.height) ?? sizes.at(-1)!
  const name = `${width}x${height}-${request.method}${request.animated ? '-animated' : ''}`
  const made = (await keptThumbnail(instance, media, name)) ?? (await makeOnce(instance, media, { ...request, width, height }, name))
  return made ?? originalFile(instance, media)
}

const kinds = [
  ['jpg', 'image/jpeg'],
  ['png', 'image/png'],
] as const

async function keptThumbnail(instance: Instance, media: MediaRow, name: string): Promise<ServedFile | null> {
  for (const [extension, contentType] of kinds) {
    const path = thumbnailPath(instance, media.mediaId, `${name}.${extension}`)
    const file = await stat(path).catch(() => null)
    if (file)
      return { path, sizeBytes: file.size, contentType, version: `${media.mediaId}-${name}`, fileName: thumbnailName(media, extension) }
  }
  return null
}

function thumbnailName(media: MediaRow, extension: string): string | null {
  return media.fileName && `${media.fileName.replace(/\.[^.]*$/, '')}.${extension}`
}

/** Two requests for the same thumbnail make it once. */
const underWay = new Map<string, Promise<ServedFile | null>>()

function makeOnce(instance: Instance, media: MediaRow, request: ThumbnailRequest, name: string): Promise<ServedFile | null> {
  const key = thumbnailPath(instance, media.mediaId, name)
  let making = underWay.get(key)
  if (!making) {
    making = inTurn(() => make(instance, media, request, name)).finally(() => underWay.delete(key))
    underWay.set(key, making)
  }
  return making
}

async function make(instance: Instance, media: MediaRow, request: ThumbnailRequest, name: string): Promise<ServedFile | null> {
  const made = await draw(blobPath(instance, media.mediaId), request)
  if (!made) return null
  await writeBytes(instance, thumbnailPath(instance, media.mediaId, `${name}.${made.extension}`), made.bytes)
  return keptThumbnail(instance, media, name)
}

/** Null for what cannot be decoded, and for an image that moves when it may. */
async function draw(path: string, request: ThumbnailRequest): Promise<{ bytes: Uint8Array; extension: 'jpg' | 'png' } | null> {
  const sharp = await loadSharp()
  try {
    const image = sharp(path, { limitInputPixels: mostPixels, sequentialRead: true })
    const { autoOrient, hasAlpha, pages } = await image.metadata()
    if (request.animated && (pages ?? 1) > 1) return null
    const resized = resize(image.autoOrient(), autoOrient, request)
    if (hasAlpha) return { bytes: await resized.png().toBuffer(), extension: 'png' }
    return { bytes: await resized.jpeg({ quality: 80 }).toBuffer(), extension: 'jpg' }
  } catch {
    // Not an image, one of a kind that is not decoded, broken, or too large: all the same to who asks.
    return null
  }
}

/** "The server should never upscale." */
function resize(image: Sharp, original: { width: number; height: number }, { width, height, method }: ThumbnailRequest): Sharp {
  if (method === 'scale') return image.resize({ width, height, fit: 'inside', withoutEnlargement: true })
  // A crop keeps the wanted shape, so it shrinks as a whole where the original is smaller.
  const factor = Math.min(1, original.width / width, original.height / height)
  const within = (length: number) => Math.max(1, Math.floor(length * factor))
  return image.resize({ width: within(width), height: within(height), fit: 'cover' })
}

type SharpModule = typeof import('sharp')['default']
let loaded: Promise<SharpModule> | null = null

/** Loaded with the first thumbnail: it costs memory that an idle homeserver need not have. */
function loadSharp(): Promise<SharpModule> {
  loaded ??= import('sharp').then(({ default: sharp }) => {
    sharp.concurrency(1)
    sharp.cache(false)
    // Only what browsers show, and never SVG, which is a program.
    sharp.block({ operation: ['VipsForeignLoad'] })
    sharp.unblock({
      operation: ['VipsForeignLoadJpeg', 'VipsForeignLoadPng', 'VipsForeignLoadNsgif', 'VipsForeignLoadWebp', 'VipsForeignLoadHeif'],
    })
    return sharp
  })
  return loaded
}

let atWork = 0
const line: (() => void)[] = []

async function inTurn<T>(run: () => Promise<T>): Promise<T> {
  if (atWork >= mostAtOnce) await new Promise<void>((resolve) => line.push(resolve))
  else atWork += 1
  try {
    return await run()
  } finally {
    const next = line.shift()
    if (next) next()
    else atWork -= 1
  }
}
