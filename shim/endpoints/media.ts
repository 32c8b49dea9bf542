/** https://spec.matrix.org/v1.19/client-server-api/#content-repository. Bytes do not go through the core: most have a handler of their own. */

import { notFound } from '../../src/errors.ts'
import { type Host, type Instance, requireActor } from '../../src/graphql/context.ts'
import { instanceOfMedia } from '../../src/media/records.ts'
import { originalFile, type ServedFile, thumbnailOf } from '../../src/media/thumbnails.ts'
import { type Upload, uploadByToken, uploadedMedia, uploadMedia, uploadToCreated, usualWaitMs } from '../../src/media/uploads.ts'
import { type Answer, endpoint, graphql, type HandlerRequest, handlerEndpoint } from '../endpoint.ts'
import { mediaAnswer } from '../media-answer.ts'
import { Type } from '../type.ts'

const authenticated = '/_matrix/client/v1/media'
const legacy = '/_matrix/media/v3'
const msc3870 = '/_matrix/media/unstable/com.beeper.msc3870'
/** how uploads after the id were called before v1.7 */
const msc2246 = '/_matrix/media/unstable/fi.mau.msc2246'

const FileName = Type.Object({ filename: Type.Optional(Type.String()) })

function uploadIn({ contentType, contentLength, body, query }: HandlerRequest<unknown, { readonly filename?: string }>): Upload {
  return { contentType, sizeBytes: contentLength, body, fileName: query.filename || null }
}

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload */
export const uploadContent = handlerEndpoint({
  method: 'POST',
  path: `${legacy}/upload`,
  auth: 'accessToken',
  puppet: true,
  rateLimited: 'media',
  // A slow upload keeps no place in the line.
  waits: true,
  query: FileName,
  async handle(request) {
    const { instance } = request.context
    const { contentUri } = await uploadMedia(instance, requireActor(request.context), uploadIn(request))
    return { body: { content_uri: contentUri } }
  },
})

/** https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid */
export const uploadContentToMXC = handlerEndpoint({
  method: 'PUT',
  path: `${legacy}/upload/{serverName}/{mediaId}`,
  aliases: [`${msc2246}/upload/{serverName}/{mediaId}`],
  auth: 'accessToken',
  puppet: true,
  rateLimited: 'media',
  waits: true,
  query: FileName,
  async handle(request) {
    await uploadToCreated(request.context.instance, requireActor(request.context), request.params, uploadIn(request))
    return { body: {} }
  },
})

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create; with a unique id the same content is uploaded once. */
export const createContent = endpoint({
  method: 'POST',
  path: '/_matrix/media/v1/create',
  aliases: [`${msc2246}/create`],
  auth: 'accessToken',
  puppet: true,
  rateLimited: 'media',
  query: Type.Object({ 'com.beeper.unique_id': Type.Optional(Type.String()), 'com.beeper.room_id': Type.Optional(Type.String()) }),
  operation: graphql(`
    mutation CreateMedia($uniqueId: String) { createMedia(uniqueId: $uniqueId) { contentUri unusedExpiresAt uploadedAt uploadToken } }
  `),
  variables: ({ query }) => ({ uniqueId: query['com.beeper.unique_id'] }),
  response: ({ createMedia }, { query, context }) => ({
    content_uri: createMedia.contentUri,
    unused_expires_at: createMedia.unusedExpiresAt ?? undefined,
    'com.beeper.unique_id': query['com.beeper.unique_id'],
    'com.beeper.completed_at': createMedia.uploadedAt ?? undefined,
    'com.beeper.msc3870.upload_url':
      createMedia.uploadToken === null ? undefined : uploadUrl(context, createMedia.contentUri, createMedia.uploadToken),
  }),
})

/** At the address that the operator named for it. */
function uploadUrl({ host }: HandlerRequest['context'], contentUri: string, token: string): string {
  return `${host.config.uploadUrl}${msc3870}/bytes/${contentUri.slice(contentUri.lastIndexOf('/') + 1)}?token=${token}`
}

/** Where `com.beeper.msc3870.upload_url` leads. The token in the address says whose upload it is, so no other is asked for. */
export const uploadContentToUrl = handlerEndpoint({
  method: 'PUT',
  path: `${msc3870}/bytes/{mediaId}`,
  auth: 'none',
  waits: true,
  query: Type.Object({ token: Type.String(), filename: Type.Optional(Type.String()) }),
  async handle(request) {
    const { host } = request.context
    await uploadByToken(await homeOf(host, request.params.mediaId), request.params.mediaId, request.query.token, uploadIn(request))
    return { body: {} }
  },
})

/** Whose media it is, for requests without a token. A suspended homeserver has none: who is refused here may be logged in at another. */
async function homeOf(host: Host, mediaId: string): Promise<Instance> {
  const name = await instanceOfMedia(host.shards, mediaId)
  const instance = name === null ? null : await host.instance(name)
  if (!instance || host.isSuspended(instance)) throw notFound('Media not found')
  return instance
}

/** MSC3870: all bytes were sent. */
export const completeUpload = endpoint({
  method: 'POST',
  path: `${msc3870}/upload/{serverName}/{mediaId}/complete`,
  aliases: [`${msc2246}/upload/{serverName}/{mediaId}/complete`],
  auth: 'accessToken',
  puppet: true,
  rateLimited: 'media',
  query: FileName,
  operation: graphql(`mutation CompleteMedia($mxc: String!, $fileName: String) { completeMedia(mxc: $mxc, fileName: $fileName) }`),
  variables: ({ params, query }) => ({ mxc: `mxc://${params.serverName}/${params.mediaId}`, fileName: query.filename }),
  response: ({ completeMedia }) => ({ content_uri: completeMedia }),
})

const maxUploadBytes = graphql(`query MaxUploadBytes { maxUploadBytes }`)

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediaconfig */
export const getConfigAuthed = endpoint({
  method: 'GET',
  path: `${authenticated}/config`,
  auth: 'accessToken',
  puppet: true,
  operation: maxUploadBytes,
  variables: () => ({}),
  response: (data) => ({ 'm.upload.size': data.maxUploadBytes }),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3config */
export const getConfig = endpoint({
  method: 'GET',
  path: `${legacy}/config`,
  auth: 'accessToken',
  puppet: true,
  operation: maxUploadBytes,
  variables: () => ({}),
  response: (data) => ({ 'm.upload.size': data.maxUploadBytes }),
})

interface Named {
  readonly serverName: string
  readonly mediaId: string
  readonly fileName?: string
}

interface Waiting {
  readonly timeout_ms?: number
}

const waiting = { timeout_ms: Type.Optional(Type.Integer({ minimum: 0 })) }
const Download = Type.Object(waiting)
const Thumbnail = Type.Object({
  ...waiting,
  width: Type.Integer({ minimum: 1 }),
  height: Type.Integer({ minimum: 1 }),
  method: Type.Optional(Type.Union([Type.Literal('crop'), Type.Literal('scale')])),
  animated: Type.Optional(Type.Boolean()),
})
type ThumbnailQuery = Waiting & {
  readonly width: number
  readonly height: number
  readonly method?: 'crop' | 'scale'
  readonly animated?: boolean
}

type MediaRow = Awaited<ReturnType<typeof uploadedMedia>>
type Choose<Query> = (instance: HandlerRequest['context']['instance'], media: MediaRow, query: Query) => ServedFile | Promise<ServedFile>

const original: Choose<Waiting> = (instance, media) => originalFile(instance, media)
const thumbnail: Choose<ThumbnailQuery> = (instance, media, { width, height, method, animated }) =>
  thumbnailOf(instance, media, { width, height, method: method ?? 'scale', animated: animated ?? false })

/** With a token: media of the token's homeserver. */
function serve<Query extends Waiting>(choose: Choose<Query>) {
  return async ({ context, params, query, headers }: HandlerRequest<Named, Query>): Promise<Answer> => {
    const { instance, signal } = context
    requireActor(context)
    const media = await uploadedMedia(instance, params, { timeoutMs: query.timeout_ms ?? usualWaitMs, signal })
    const fileName = params.fileName ?? null
    return mediaAnswer(await choose(instance, media, query), { headers, authenticated: true, fileName })
  }
}

/** Without one: the id, which nobody can guess, says whose it is; the configuration may have closed this way. */
function serveLegacy<Query extends Waiting>(choose: Choose<Query>) {
  return async ({ context, params, query, headers }: HandlerRequest<Named, Query>): Promise<Answer> => {
    const { host, signal } = context
    const { legacyMedia } = host.config
    if (legacyMedia === 'closed') throw notFound('Media not found')
    const instance = await homeOf(host, params.mediaId)
    const media = await uploadedMedia(instance, params, { timeoutMs: query.timeout_ms ?? usualWaitMs, signal })
    if (typeof legacyMedia === 'object' && (media.uploadedAt ?? 0) >= legacyMedia.before) throw notFound('Media not found')
    const fileName = params.fileName ?? null
    return mediaAnswer(await choose(instance, media, query), { headers, authenticated: false, fileName })
  }
}

const reading = { method: 'GET', auth: 'accessToken', puppet: true, waits: true } as const
const legacyReading = { ...reading, auth: 'none' } as const

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid */
export const getContentAuthed = handlerEndpoint({
  ...reading,
  path: `${authenticated}/download/{serverName}/{mediaId}`,
  query: Download,
  handle: serve(original),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaidfilename */
export const getContentOverrideNameAuthed = handlerEndpoint({
  ...reading,
  path: `${authenticated}/download/{serverName}/{mediaId}/{fileName}`,
  query: Download,
  handle: serve(original),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid */
export const getContentThumbnailAuthed = handlerEndpoint({
  ...reading,
  path: `${authenticated}/thumbnail/{serverName}/{mediaId}`,
  query: Thumbnail,
  handle: serve(thumbnail),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3downloadservernamemediaid */
export const getContent = handlerEndpoint({
  ...legacyReading,
  path: `${legacy}/download/{serverName}/{mediaId}`,
  query: Download,
  handle: serveLegacy(original),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3downloadservernamemediaidfilename */
export const getContentOverrideName = handlerEndpoint({
  ...legacyReading,
  path: `${legacy}/download/{serverName}/{mediaId}/{fileName}`,
  query: Download,
  handle: serveLegacy(original),
})

/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3thumbnailservernamemediaid */
export const getContentThumbnail = handlerEndpoint({
  ...legacyReading,
  path: `${legacy}/thumbnail/{serverName}/{mediaId}`,
  query: Thumbnail,
  handle: serveLegacy(thumbnail),
})
