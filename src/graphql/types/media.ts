/** What is known about media. Bytes go through the Matrix face alone. */
import { contentUri, createMedia, findMedia, parseContentUri } from '../../media/records.ts'
import type { MediaRow } from '../../storage/tables.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'

const Media = builder.objectRef<MediaRow>('Media').implement({
  description: 'A file that a user uploaded.',
  fields: (t) => ({
    contentUri: t.string({ description: 'mxc://…', resolve: (media, _, context) => contentUri(context.instance, media.mediaId) }),
    contentType: t.exposeString('contentType', { nullable: true, description: 'As the uploader said.' }),
    fileName: t.exposeString('fileName', { nullable: true }),
    sizeBytes: t.float({ nullable: true, description: 'Null while it is created and not uploaded.', resolve: (media) => media.sizeBytes }),
    createdAt: t.expose('createdAt', { type: 'Timestamp' }),
    uploadedAt: t.expose('uploadedAt', { type: 'Timestamp', nullable: true }),
  }),
})

const CreatedMedia = builder.objectRef<{ readonly contentUri: string; readonly unusedExpiresAt: number }>('CreatedMedia').implement({
  description: 'A content URI to upload to.',
  fields: (t) => ({
    contentUri: t.exposeString('contentUri', { description: 'mxc://…' }),
    unusedExpiresAt: t.expose('unusedExpiresAt', { type: 'Timestamp', description: 'Until when it may be uploaded to.' }),
  }),
})

builder.queryFields((t) => ({
  media: t.field({
    type: Media,
    description: 'What is known about media of this homeserver. Anybody with a token. Errors: M_NOT_FOUND, M_INVALID_PARAM.',
    args: { mxc: t.arg.string({ required: true, description: 'mxc://…' }) },
    extensions: { puppet: true },
    resolve: (_, { mxc }, context) => {
      requireActor(context)
      return findMedia(context.instance, parseContentUri(mxc))
    },
  }),
  maxUploadBytes: t.float({
    description: 'The largest file that may be uploaded, bytes. Anybody with a token. No errors.',
    extensions: { puppet: true },
    resolve: (_, __, context) => {
      requireActor(context)
      return context.instance.config.maxUploadBytes
    },
  }),
}))

builder.mutationField('createMedia', (t) =>
  t.field({
    type: CreatedMedia,
    description:
      'A content URI whose bytes come later, by the Matrix face: an event may name it at once. Anybody with a token. Errors: M_LIMIT_EXCEEDED.',
    extensions: { puppet: true },
    resolve: (_, __, context) => createMedia(context.instance, requireActor(context)),
  }),
)
