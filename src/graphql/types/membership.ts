/** What somebody is to a room. */
import { builder } from '../builder.ts'

export const Membership = builder.enumType('Membership', {
  description: 'What a user is to a room. https://spec.matrix.org/v1.19/client-server-api/#room-membership',
  values: {
    JOIN: { value: 'join' },
    INVITE: { value: 'invite' },
    KNOCK: { value: 'knock', description: 'Asks to be invited.' },
    LEAVE: { value: 'leave', description: 'Left, was kicked, or declined.' },
    BAN: { value: 'ban' },
  } as const,
})
