import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeIdentity } from '../devices/rig.ts'
import { startServer, testPassword } from '../rig/server.ts'

test('what nobody goes on with is held up to 4 MB: the oldest requests are forgotten, the newest can be completed', async () => {
  await using server = await startServer()
  const ann = await server.register('ann', testPassword)
  const upload = (body: object) => ann.post('/keys/device_signing/upload', body)
  assert.equal((await upload(makeIdentity(ann.userId).body)).status, 200)
  const { master_key } = makeIdentity(ann.userId).body
  const sessions: string[] = []
  // 6 MB in all.
  for (let i = 0; i < 400; i++) {
    const { status, body } = await upload({ master_key: { ...master_key, more: 'x'.repeat(15_000) } })
    assert.equal(status, 401)
    sessions.push(body.session)
  }
  const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: ann.userId }, password: testPassword }
  const complete = async (index: number) => {
    const { status, body } = await upload({ auth: { ...auth, session: sessions.at(index) } })
    return [status, body.errcode]
  }
  assert.deepEqual(await complete(0), [400, 'M_UNKNOWN'])
  assert.deepEqual(await complete(100), [400, 'M_UNKNOWN'])
  assert.deepEqual(await complete(200), [200, undefined])
  assert.deepEqual(await complete(-1), [200, undefined])
})
