import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { authorize } from '../../src/rules/auth.ts'
import { allowedRooms, checkMembershipAction, isRestricted, mayAuthoriseJoin } from '../../src/rules/member-auth.ts'
import type { NewEvent, RoomView } from '../../src/rules/room-view.ts'
import { creator, member, moderator, other, room, user } from './room.ts'

function allows(event: NewEvent, view: RoomView): void {
  assert.equal(authorize(event, view), null)
}

function refuses(event: NewEvent, view: RoomView, error: RegExp, errcode = 'M_FORBIDDEN'): void {
  const refusal = authorize(event, view)
  assert.equal(refusal?.errcode, errcode)
  assert.match(refusal?.error ?? '', error)
}

suite('rule 4.1: the shape of m.room.member', () => {
  test('a member event without a state key is refused', () =>
    refuses({ type: 'm.room.member', sender: user, content: { membership: 'join' } }, room(), /state event/, 'M_BAD_JSON'))
  test('a member event without a membership is refused', () =>
    refuses({ type: 'm.room.member', sender: user, stateKey: user, content: {} }, room(), /membership/, 'M_BAD_JSON'))
  test('a member event for what is no user is refused', () => refuses(member(creator, 'x', 'invite'), room(), /user ID/, 'M_INVALID_PARAM'))
  test('rule 4.8: an unknown membership is refused', () => refuses(member(user, user, 'x'), room(), /Unknown membership/, 'M_BAD_JSON'))
})

suite('rule 4.3: join', () => {
  test('the creator joins right after the create event, though the room is invite-only', () =>
    allows(member(creator, creator, 'join'), { ...room({ powerLevels: null }), membership: () => null }))
  test('nobody else joins right after the create event', () =>
    refuses(member(user, user, 'join'), { ...room({ powerLevels: null }), membership: () => null }, /not invited/))
  test('a creator who left joins as anybody else', () =>
    refuses(member(creator, creator, 'join'), room({ members: { [creator]: 'leave' } }), /not invited/))
  test('an invited user can join', () => allows(member(other, other, 'join'), room({ members: { [other]: 'invite' } })))
  test('a user cannot join an invite-only room without an invite', () => refuses(member(other, other, 'join'), room(), /not invited/))
  test('a joined user can change name and avatar', () => allows(member(user, user, 'join', { displayname: 'User' }), room()))
  test('nobody can make another join, not even the creator', () =>
    refuses(member(creator, other, 'join'), room({ members: { [other]: 'invite' } }), /Cannot force another/))
  test('anybody can join a public room', () => allows(member(other, other, 'join'), room({ joinRules: { join_rule: 'public' } })))
  test('a banned user cannot join a public room', () =>
    refuses(member(other, other, 'join'), room({ members: { [other]: 'ban' }, joinRules: { join_rule: 'public' } }), /banned/))
  test('a banned user cannot join, even with an invite', () => {
    // The ban stands after the invite, and nobody can invite over a ban.
    const view = room({ members: { [other]: 'ban' } })
    refuses(member(creator, other, 'invite'), view, /is banned from the room/)
    refuses(member(other, other, 'join'), view, /banned/)
  })
  test('a knocking user cannot join by that', () =>
    refuses(member(other, other, 'join'), room({ members: { [other]: 'knock' }, joinRules: { join_rule: 'knock' } }), /not invited/))
  test('an invited user can join a room to knock on', () =>
    allows(member(other, other, 'join'), room({ members: { [other]: 'invite' }, joinRules: { join_rule: 'knock' } })))
  for (const rule of ['private', 'x', 1]) {
    test(`nobody can join by the unknown join rule ${rule}, even with an invite`, () =>
      refuses(
        member(other, other, 'join'),
        room({ members: { [other]: 'invite' }, joinRules: { join_rule: rule } }),
        /not allowed to join/,
      ))
  }
})

suite('rule 4.3.5: restricted joins', () => {
  const allow = [{ type: 'm.room_membership', room_id: '!space:example.com' }, { type: 'x', room_id: '!x:example.com' }, 1]
  const restricted = { join_rule: 'restricted', allow }
  const elsewhere = { '!space:example.com': [other], '!x:example.com': [other] }
  const join = member(other, other, 'join', { join_authorised_via_users_server: moderator })

  test('a member of an allowed room can join, authorised by a member who may invite', () =>
    allows(join, room({ joinRules: restricted, elsewhere })))
  test('who is in no allowed room cannot join', () => refuses(join, room({ joinRules: restricted }), /do not belong to any/))
  test('a condition of an unknown type allows nobody', () =>
    refuses(join, room({ joinRules: restricted, elsewhere: { '!x:example.com': [other] } }), /do not belong to any/))
  test('a restricted join without an authorising user is refused', () =>
    refuses(member(other, other, 'join'), room({ joinRules: restricted, elsewhere }), /missing authorising user/))
  test('a user who may not invite cannot authorise', () =>
    refuses(
      member(other, other, 'join', { join_authorised_via_users_server: user }),
      room({ joinRules: restricted, elsewhere, powerLevels: { invite: 50, users: { [moderator]: 50 } } }),
      /may not invite/,
    ))
  test('a user who left cannot authorise', () =>
    refuses(join, room({ joinRules: restricted, elsewhere, members: { [moderator]: 'leave' } }), /may not invite/))
  test('an invited user needs neither', () =>
    allows(member(other, other, 'join'), room({ joinRules: restricted, members: { [other]: 'invite' } })))
  test('a joined user can change the own profile', () => allows(member(user, user, 'join'), room({ joinRules: restricted })))
  test('a banned user cannot join as a member of an allowed room', () =>
    refuses(join, room({ joinRules: restricted, elsewhere, members: { [other]: 'ban' } }), /banned/))
  test('knock_restricted does the same from room version 10 on', () => {
    const joinRules = { join_rule: 'knock_restricted', allow }
    for (const version of ['10', '11'] as const) allows(join, room({ version, joinRules, elsewhere }))
    refuses(join, room({ version: '9', joinRules, elsewhere }), /not allowed to join/)
  })
  test('restricted is known to room version 9', () => allows(join, room({ version: '9', joinRules: restricted, elsewhere })))
  test('the server can tell whom to ask', () => {
    const view = room({ joinRules: restricted })
    assert.deepEqual(allowedRooms(restricted), ['!space:example.com'])
    assert.deepEqual(allowedRooms({ allow: 'x' }), [])
    assert.deepEqual(allowedRooms(undefined), [])
    assert.equal(isRestricted(view), true)
    assert.equal(isRestricted(room()), false)
    assert.equal(mayAuthoriseJoin(user, view), true)
    assert.equal(mayAuthoriseJoin(other, view), false)
  })
})

suite('rule 4.4: invite', () => {
  test('a joined user can invite', () => allows(member(user, other, 'invite'), room()))
  test('a user who left can be invited again', () => allows(member(user, other, 'invite'), room({ members: { [other]: 'leave' } })))
  test('a knock can be answered with an invite', () => allows(member(user, other, 'invite'), room({ members: { [other]: 'knock' } })))
  test('who is not joined cannot invite', () => refuses(member(other, '@new:example.com', 'invite'), room(), /not in room/))
  test('a joined user cannot be invited', () => refuses(member(creator, user, 'invite'), room(), /is already in the room/))
  test('a banned user cannot be invited', () =>
    refuses(member(creator, other, 'invite'), room({ members: { [other]: 'ban' } }), /is banned from the room/))
  test('a user below the invite level cannot invite', () =>
    refuses(member(user, other, 'invite'), room({ powerLevels: { invite: 1 } }), /permission to invite/))
  test('rule 4.4.1: an invite by a third party is refused, for nobody vouches for it', () =>
    refuses(member(creator, other, 'invite', { third_party_invite: { signed: {} } }), room(), /not invited/))
})

suite('rule 4.5: leave', () => {
  for (const membership of ['join', 'invite', 'knock'] as const) {
    test(`a user with membership ${membership} can leave`, () =>
      allows(member(other, other, 'leave'), room({ members: { [other]: membership } })))
  }
  test('who is not there cannot leave', () => refuses(member(other, other, 'leave'), room(), /not in room/))
  test('a banned user cannot lift the ban by leaving', () =>
    refuses(member(other, other, 'leave'), room({ members: { [other]: 'ban' } }), /not in room/))
  test('a moderator can kick a user', () => allows(member(moderator, user, 'leave'), room()))
  test('a moderator can take back an invite', () => allows(member(moderator, other, 'leave'), room({ members: { [other]: 'invite' } })))
  test('a moderator can turn down a knock', () => allows(member(moderator, other, 'leave'), room({ members: { [other]: 'knock' } })))
  test('who left cannot kick', () => refuses(member(creator, user, 'leave'), room({ members: { [creator]: 'leave' } }), /not in room/))
  test('a user below the kick level cannot kick', () =>
    refuses(member(user, other, 'leave'), room({ members: { [other]: 'join' }, powerLevels: { users: { [other]: -1 } } }), /cannot kick/))
  test('nobody can kick an equal', () =>
    refuses(
      member(moderator, other, 'leave'),
      room({ members: { [other]: 'join' }, powerLevels: { users: { [moderator]: 50, [other]: 50 } } }),
      /cannot kick/,
    ))
  test('nobody can kick who is not there', () => refuses(member(creator, other, 'leave'), room(), /target user is not in the room/))
  test('a moderator can unban', () => allows(member(moderator, other, 'leave'), room({ members: { [other]: 'ban' } })))
  test('a user below the ban level cannot unban, though at the kick level', () =>
    refuses(
      member(moderator, other, 'leave'),
      room({ members: { [other]: 'ban' }, powerLevels: { ban: 60, users: { [moderator]: 50 } } }),
      /cannot unban/,
    ))
  test('a user below the kick level cannot unban, though at the ban level', () =>
    refuses(
      member(moderator, other, 'leave'),
      room({ members: { [other]: 'ban' }, powerLevels: { kick: 60, users: { [moderator]: 50 } } }),
      /cannot unban/,
    ))
})

suite('rule 4.6: ban', () => {
  test('a moderator can ban a user, present or not', () => {
    allows(member(moderator, user, 'ban'), room())
    allows(member(moderator, other, 'ban'), room())
  })
  test('who left cannot ban', () => refuses(member(creator, user, 'ban'), room({ members: { [creator]: 'leave' } }), /not in room/))
  test('a user below the ban level cannot ban', () => refuses(member(user, other, 'ban'), room(), /permission to ban/))
  test('nobody can ban a superior', () => refuses(member(moderator, creator, 'ban'), room(), /permission to ban this user/))
})

suite('rule 4.7: knock', () => {
  const knock = member(other, other, 'knock')
  test('anybody can knock where the join rule is knock', () => allows(knock, room({ joinRules: { join_rule: 'knock' } })))
  test('a knock can be repeated', () => allows(knock, room({ joinRules: { join_rule: 'knock' }, members: { [other]: 'knock' } })))
  for (const rule of ['invite', 'public', 'restricted']) {
    test(`nobody can knock where the join rule is ${rule}`, () =>
      refuses(knock, room({ joinRules: { join_rule: rule } }), /permission to knock/))
  }
  test('knock_restricted rooms can be knocked on from room version 10 on', () => {
    const joinRules = { join_rule: 'knock_restricted' }
    allows(knock, room({ version: '10', joinRules }))
    refuses(knock, room({ version: '9', joinRules }), /permission to knock/)
  })
  test('nobody can knock for another', () =>
    refuses(member(creator, other, 'knock'), room({ joinRules: { join_rule: 'knock' } }), /for other users/))
  for (const [membership, error] of [
    ['ban', /banned/],
    ['invite', /already invited/],
    ['join', /already in/],
  ] as const) {
    test(`a user with membership ${membership} cannot knock`, () =>
      refuses(knock, room({ joinRules: { join_rule: 'knock' }, members: { [other]: membership } }), error))
  }
})

suite('kick and unban as actions', () => {
  test('unban is for the banned', () => {
    assert.equal(checkMembershipAction('unban', 'ban'), null)
    for (const membership of ['join', 'invite', 'leave', 'knock', null] as const) {
      assert.equal(checkMembershipAction('unban', membership)?.errcode, 'M_BAD_STATE')
    }
  })
  test('kick is for those who are there', () => {
    for (const membership of ['join', 'invite', 'knock'] as const) assert.equal(checkMembershipAction('kick', membership), null)
    assert.equal(checkMembershipAction('kick', 'ban')?.errcode, 'M_BAD_STATE')
    for (const membership of ['leave', null] as const) assert.equal(checkMembershipAction('kick', membership)?.errcode, 'M_FORBIDDEN')
  })
})
