/** The body of createRoom, which stands in other bodies as well. https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom */
import type { Static } from 'typebox'
import { MatrixError } from '../src/errors.ts'
import { enumName } from './enum-name.ts'
import { EventContent, Milliseconds } from './shape.ts'
import { Type } from './type.ts'

const UserIds = Type.Array(Type.String())

export const CreateRoomBody = Type.Object({
  preset: Type.Optional(Type.Union([Type.Literal('private_chat'), Type.Literal('trusted_private_chat'), Type.Literal('public_chat')])),
  visibility: Type.Optional(Type.Union([Type.Literal('public'), Type.Literal('private')])),
  room_version: Type.Optional(Type.String()),
  name: Type.Optional(Type.String()),
  topic: Type.Optional(Type.String()),
  room_alias_name: Type.Optional(Type.String()),
  is_direct: Type.Optional(Type.Boolean()),
  invite: Type.Optional(UserIds),
  invite_3pid: Type.Optional(Type.Array(Type.Object({}))),
  initial_state: Type.Optional(
    Type.Array(Type.Object({ type: Type.String(), state_key: Type.Optional(Type.String()), content: EventContent })),
  ),
  creation_content: Type.Optional(EventContent),
  power_level_content_override: Type.Optional(EventContent),
  'com.beeper.initial_members': Type.Optional(UserIds),
  'com.beeper.auto_join_invites': Type.Optional(Type.Boolean()),
  'fi.mau.room_id': Type.Optional(Type.String()),
  'fi.mau.origin_server_ts': Type.Optional(Milliseconds),
})

/** The same as the schema's CreateRoomInput. Errors: M_THREEPID_DENIED. */
export function createRoomInput(body: Static<typeof CreateRoomBody>) {
  if (body.invite_3pid?.length) throw new MatrixError('M_THREEPID_DENIED', 'Third-party identifiers are not known here')
  return {
    preset: body.preset && enumName(body.preset),
    listed: body.visibility === 'public',
    roomVersion: body.room_version,
    name: body.name,
    topic: body.topic,
    aliasName: body.room_alias_name,
    isDirect: body.is_direct,
    invite: body.invite,
    initialState: body.initial_state?.map(({ type, state_key, content }) => ({ type, stateKey: state_key ?? '', content })),
    creationContent: body.creation_content,
    powerLevelOverride: body.power_level_content_override,
    initialMembers: body['com.beeper.initial_members'],
    autoJoinInvites: body['com.beeper.auto_join_invites'],
    roomId: body['fi.mau.room_id'],
    ts: body['fi.mau.origin_server_ts'],
  }
}
