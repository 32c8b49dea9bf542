// History that comes when somebody has read to the top already. On both databases.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import { idsOf, pageBack, path, startHistorian } from './backfill.ts'

await onBothServers('history that comes late', (start) => {
  test('who was at the top was told that nothing lies beyond, and finds it from a new timeline', async () => {
    await using server = await start()
    const { owner } = server
    const historian = await startHistorian(server, 'late')
    const roomId = await historian.portal()
    const said = await owner.send(roomId, 'live')
    const [newer, older] = [historian.messages('newer', 3), historian.messages('older', 3)]
    await historian.sent(roomId, { events: newer })
    const page = async (query: string) => (await owner.get(`/rooms/${path(roomId)}/messages?dir=b&limit=100${query}`)).body
    const top = await page('')
    assert.equal('end' in top, false)
    const since = (await owner.sync()).next_batch

    await historian.sent(roomId, { events: older })
    // A sync never tells of it.
    assert.equal((await owner.sync(`since=${since}`)).rooms?.join?.[roomId]?.timeline, undefined)
    const ids = [said, ...idsOf(newer).toReversed(), ...idsOf(older).toReversed()]
    assert.deepEqual(idsOf(await pageBack(owner, roomId, 2)), ids)
    const { prev_batch: from } = (await owner.sync()).rooms.join[roomId].timeline
    assert.equal(idsOf((await page(`&from=${from}`)).chunk).at(-1), older[0]!.event_id)
  })
})
