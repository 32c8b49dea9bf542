/** What is known about media. Bytes go through the Matrix face alone. */
import { type CreatedMedia as Created, contentUri, createMedia, findMedia, parseContentUri } from '../../media/records.ts'
import { completeUpload } from '../../media/uploads.ts'
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

const CreatedMedia = builder.objectRef<Created>('CreatedMedia').implement({
  description: 'A content URI to upload to.',
  fields: (t) => ({
    contentUri: t.exposeString('contentUri', { description: 'mxc://…' }),
    unusedExpiresAt: t.expose('unusedExpiresAt', {
      type: 'Timestamp',
      nullable: true,
      description: 'Until when it may be uploaded to; null when it is uploaded.',
    }),
    uploadedAt: t.expose('uploadedAt', {
      type: 'Timestamp',
      nullable: true,
      description: 'When the media with this `uniqueId` was uploaded: nothing is left to upload.',
    }),
    uploadToken: t.exposeString('uploadToken', {
      nullable: true,
      description:
        'Stands in the address of the Matrix face (`com.beeper.msc3870.upload_url`) to which the bytes may be sent without an access token, before `completeMedia`. Null where the operator names no place for that.',
    }),
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

builder.mutationFields((t) => ({
  createMedia: t.field({
    type: CreatedMedia,
    description:
      'A content URI whose bytes come later, by the Matrix face: an event may name it at once. Anybody with a token. Errors: M_LIMIT_EXCEEDED, M_INVALID_PARAM.',
    args: { uniqueId: t.arg.string({ description: 'which content it will be: the same bridge or person is given what has it already' }) },
    extensions: { puppet: true },
    resolve: (_, args, context) => createMedia(context.instance, requireActor(context), args),
  }),
  completeMedia: t.field({
    type: 'String',
    description:
      'Says that all bytes of created media were sent; gives its content URI. The user who created it. Errors: M_NOT_FOUND, M_FORBIDDEN, M_NOT_YET_UPLOADED when none came.',
    args: {
      mxc: t.arg.string({ required: true, description: 'mxc://…' }),
      fileName: t.arg.string({ description: 'where the upload brought none' }),
    },
    extensions: { puppet: true },
    resolve: (_, { mxc, fileName }, context) =>
      completeUpload(context.instance, requireActor(context), parseContentUri(mxc), fileName ?? null),
  }),
}))
