/** Files as answers: the headers that keep them harmless, conditional requests and single ranges. */
import { open } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { notFound } from '../src/errors.ts'
import type { ServedFile } from '../src/media/thumbnails.ts'
import type { Answer } from './endpoint.ts'

/** "The following content types are considered safe to be shown inline": https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content */
const inlineTypes: ReadonlySet<string> = new Set([
  ...['text/css', 'text/plain', 'text/csv', 'application/json', 'application/ld+json'],
  ...['image/jpeg', 'image/gif', 'image/png', 'image/apng', 'image/webp', 'image/avif'],
  ...['video/mp4', 'video/webm', 'video/ogg', 'video/quicktime'],
  ...[
    'audio/mp4',
    'audio/webm',
    'audio/aac',
    'audio/mpeg',
    'audio/ogg',
    'audio/wave',
    'audio/wav',
    'audio/x-wav',
    'audio/x-pn-wav',
    'audio/flac',
    'audio/x-flac',
  ],
])

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid */
const safety = {
  'content-security-policy':
    "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; media-src 'self'; object-src 'self';",
  'cross-origin-resource-policy': 'cross-origin',
  'x-content-type-options': 'nosniff',
  'x-robots-tag': 'noindex, nofollow, noarchive, noimageindex',
} as const

export interface MediaRequest {
  readonly headers: IncomingMessage['headers']
  /** whether a token was needed: then no shared cache may keep it */
  readonly authenticated: boolean
  /** instead of the name that it was uploaded with */
  readonly fileName: string | null
}

/** Errors: M_NOT_FOUND when the bytes are gone. */
export async function mediaAnswer(file: ServedFile, request: MediaRequest): Promise<Answer> {
  const etag = `"${file.version}"`
  const headers = {
    ...safety,
    etag,
    // The bytes of an id never change.
    'cache-control': `${request.authenticated ? 'private' : 'public'}, max-age=31536000, immutable`,
    'accept-ranges': 'bytes',
    'content-type': file.contentType,
    'content-disposition': disposition(file, request.fileName ?? file.fileName),
  }
  if (matchesEtag(request.headers['if-none-match'], etag)) return { status: 304, headers, body: '' }
  const range = rangeOf(request.headers, etag, file.sizeBytes)
  if (range === 'unsatisfiable') {
    const body = { errcode: 'M_INVALID_PARAM', error: 'The range lies outside of the file' }
    return { status: 416, headers: { 'content-range': `bytes */${file.sizeBytes}` }, body }
  }
  const { start, end } = range ?? { start: 0, end: file.sizeBytes - 1 }
  const length = { 'content-length': String(end - start + 1) }
  const part = range ? { 'content-range': `bytes ${start}-${end}/${file.sizeBytes}` } : {}
  const answer = { status: range ? 206 : 200, headers: { ...headers, ...length, ...part } }
  if (file.sizeBytes === 0) return { ...answer, body: '' }
  const handle = await open(file.path).catch(() => null)
  if (!handle) throw notFound('Media not found')
  return { ...answer, body: handle.createReadStream({ start, end }) }
}

function disposition(file: ServedFile, fileName: string | null): string {
  const type = file.contentType.split(';')[0]!.trim().toLowerCase()
  const kind = inlineTypes.has(type) ? 'inline' : 'attachment'
  if (!fileName) return kind
  // https://datatracker.ietf.org/doc/html/rfc6266#section-4.1: a plain token as it is, anything else as RFC 5987 has it.
  if (/^[A-Za-z0-9!#$&+.^_`|~-]+$/.test(fileName)) return `${kind}; filename=${fileName}`
  const encoded = encodeURIComponent(fileName).replaceAll(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
  return `${kind}; filename*=utf-8''${encoded}`
}

function matchesEtag(condition: string | undefined, etag: string): boolean {
  if (condition === undefined) return false
  return condition.trim() === '*' || condition.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag)
}

/** Null: all of it, which is also the answer to several ranges at once. */
function rangeOf(
  headers: IncomingMessage['headers'],
  etag: string,
  sizeBytes: number,
): { start: number; end: number } | 'unsatisfiable' | null {
  const ifRange = headers['if-range']
  if (ifRange !== undefined && ifRange !== etag) return null
  const match = /^bytes=(\d*)-(\d*)$/.exec(headers.range?.trim() ?? '')
  const [, from = '', to = ''] = match ?? []
  if (!match || (from === '' && to === '')) return null
  const start = from === '' ? Math.max(0, sizeBytes - Number(to)) : Number(from)
  const end = from === '' || to === '' ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1)
  if (from !== '' && to !== '' && Number(to) < Number(from)) return null
  return start >= sizeBytes || start > end ? 'unsatisfiable' : { start, end }
}
