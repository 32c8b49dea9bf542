import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { type HistoryVisibility, maySee, parseHistoryVisibility } from '../../src/rules/history-visibility.ts'
import type { Membership } from '../../src/rules/room-view.ts'

const visibilities = ['world_readable', 'shared', 'invited', 'joined'] as const
const memberships = ['join', 'invite', 'leave', 'ban', 'knock', null] as const

function sees(visibility: HistoryVisibility, membership: Membership | null, joinedLater = false): boolean {
  return maySee({ visibility, membership, joinedLater })
}

suite('history visibility', () => {
  test('without a value, or with an unknown one, it is shared', () => {
    for (const content of [undefined, {}, { history_visibility: 'x' }, { history_visibility: 1 }])
      assert.equal(parseHistoryVisibility(content), 'shared')
    for (const visibility of visibilities) assert.equal(parseHistoryVisibility({ history_visibility: visibility }), visibility)
  })
  test('world_readable: everybody sees the event', () => {
    for (const membership of memberships) assert.equal(sees('world_readable', membership), true)
  })
  test('a joined user sees the event whatever the visibility', () => {
    for (const visibility of visibilities) assert.equal(sees(visibility, 'join'), true)
  })
  test('shared: who joins later sees the event, who does not join does not', () => {
    for (const membership of ['invite', 'leave', 'ban', 'knock', null] as const) {
      assert.equal(sees('shared', membership, true), true)
      assert.equal(sees('shared', membership, false), false)
    }
  })
  test('invited: an invited user sees the event, and nobody sees what was sent before the invite', () => {
    assert.equal(sees('invited', 'invite'), true)
    assert.equal(sees('invited', null, true), false)
  })
  test('joined: who joins later does not see the event, invited or not', () => {
    assert.equal(sees('joined', null, true), false)
    assert.equal(sees('joined', 'invite', true), false)
  })
  test('a user who left sees nothing that was sent after the leave', () => {
    for (const visibility of ['shared', 'invited', 'joined'] as const) assert.equal(sees(visibility, 'leave'), false)
  })
  test('a user sees the own join and the own leave, kick or ban', () => {
    for (const visibility of visibilities) {
      assert.equal(maySee({ visibility, membership: null, newMembership: 'join', joinedLater: false }), true)
      for (const newMembership of ['leave', 'ban'] as const)
        assert.equal(maySee({ visibility, membership: 'join', newMembership, joinedLater: false }), true)
    }
  })
  test('who declines an invitation sees it go', () =>
    assert.equal(maySee({ visibility: 'joined', membership: 'invite', newMembership: 'leave', joinedLater: false }), true))
  test('a banned user does not see being unbanned', () =>
    assert.equal(maySee({ visibility: 'shared', membership: 'ban', newMembership: 'leave', joinedLater: false }), false))
  test('a change of the visibility is seen by whom it lets in and by whom it shuts out', () => {
    for (const [visibility, newVisibility] of [
      ['world_readable', 'joined'],
      ['joined', 'world_readable'],
    ] as const) {
      assert.equal(maySee({ visibility, newVisibility, membership: null, joinedLater: false }), true)
    }
    assert.equal(maySee({ visibility: 'joined', newVisibility: 'invited', membership: null, joinedLater: false }), false)
  })
})
