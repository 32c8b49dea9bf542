/** Uploading cross-signing keys: who must be asked first, what is refused, who is told. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { onBothServers } from '../rig/both-servers.ts'
import { type Client, type TestServer, testPassword } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'
import { makeIdentity, type Signed, signingKey } from './rig.ts'
import { accepted, crossSigner, crossSigningPath, Listener, passwordOf, queryKeys, refused, signKeys } from './signing-rig.ts'

const encode = encodeURIComponent

await onBothServers('cross-signing keys', (start) => {
  let server: TestServer
  let eve: Client

  before(async () => {
    server = await start()
    eve = await server.register('eve')
  })
  after(() => server[Symbol.asyncDispose]())

  const upload = (client: Client, body: object) => client.post(crossSigningPath, body)

  /** The public keys that somebody sees of somebody. */
  async function seenBy(client: Client, userId: string): Promise<(string | undefined)[]> {
    const answer = await queryKeys(client, userId)
    return ['master_keys', 'self_signing_keys', 'user_signing_keys'].map((name) => {
      const keys = answer[name][userId]?.keys as Record<string, string> | undefined
      return keys && Object.values(keys)[0]
    })
  }

  test('the first upload needs no password; others see all but the user-signing key, as it was uploaded', async () => {
    const ann = await server.register('ann-first', testPassword)
    const { body } = makeIdentity(ann.userId)
    const keys = { ...body, master_key: { ...body.master_key, 'm.unknown': { z: 1, a: [null, 9007199254740991, '日'] } } }
    assert.deepEqual(accepted(await upload(ann, keys)), {})
    const own = await queryKeys(ann, ann.userId)
    assert.deepEqual(own.master_keys, { [ann.userId]: keys.master_key })
    assert.deepEqual(own.self_signing_keys, { [ann.userId]: keys.self_signing_key })
    assert.deepEqual(own.user_signing_keys, { [ann.userId]: keys.user_signing_key })
    const seen = await queryKeys(eve, ann.userId)
    assert.deepEqual([seen.master_keys, seen.self_signing_keys], [own.master_keys, own.self_signing_keys])
    assert.deepEqual(seen.user_signing_keys, {})
  })

  test('the same keys again need no password and tell nobody, with some of their signatures as with all of them', async () => {
    const { client, identity, deviceKey } = await crossSigner(server, 'ann-again')
    const { body } = identity
    const signed = deviceKey.sign(body.master_key, client.userId, client.deviceId)
    assert.deepEqual(await signKeys(client, { [client.userId]: { [identity.master.publicKey]: signed } }), {})
    const listener = await Listener.start(client)
    const before = await queryKeys(client, client.userId)
    const { signatures: _, ...bare } = body.master_key
    for (const keys of [body, { ...body, master_key: signed }, { self_signing_key: body.self_signing_key }, { master_key: bare }, {}]) {
      assert.deepEqual(accepted(await upload(client, keys)), {})
      assert.deepEqual(accepted(await upload(client, { user_signing_key: null, ...keys })), {})
    }
    assert.deepEqual(await listener.heard(), [])
    assert.deepEqual(await queryKeys(client, client.userId), before)
  })

  test('other keys are 401 and then, with the password, 200: sent again or with `auth` alone', async () => {
    for (const [localpart, isSentAgain] of [
      ['ann-again-all', true],
      ['ann-auth-alone', false],
    ] as const) {
      const { client, identity } = await crossSigner(server, localpart)
      const others = makeIdentity(client.userId)
      const asked = await upload(client, others.body)
      assert.equal(asked.status, 401)
      assert.deepEqual(asked.body.flows, [{ stages: ['m.login.password'] }])
      assert.equal(asked.body.errcode, undefined)
      const { session } = asked.body
      const rest = isSentAgain ? others.body : {}
      const wrong = await upload(client, { ...rest, auth: { ...passwordOf(client, 'not it'), session } })
      refused(wrong, 401, 'M_FORBIDDEN')
      assert.equal((await seenBy(eve, client.userId))[0], identity.master.publicKey)
      assert.deepEqual(accepted(await upload(client, { ...rest, auth: { ...passwordOf(client), session } })), {})
      const expected = [others.master, others.selfSigning, others.userSigning].map(({ publicKey }) => publicKey)
      assert.deepEqual(await seenBy(client, client.userId), expected)
      refused(await upload(client, { ...identity.body, auth: { ...passwordOf(client), session } }), 400, 'M_UNKNOWN')
    }
  })

  test('one key of three that is other needs the password, as does one more signature in a key', async () => {
    const { client, identity, deviceKey } = await crossSigner(server, 'ann-one')
    const { body, master } = identity
    const other = makeIdentity(client.userId, master).body
    const signed = deviceKey.sign(body.master_key, client.userId, client.deviceId)
    for (const keys of [
      { ...body, user_signing_key: other.user_signing_key },
      { self_signing_key: other.self_signing_key },
      { master_key: signed },
    ])
      assert.equal((await upload(client, keys)).status, 401)
    assert.deepEqual((await queryKeys(client, client.userId)).master_keys[client.userId], body.master_key)
    accepted(await upload(client, { master_key: signed, auth: passwordOf(client) }))
    assert.deepEqual((await queryKeys(client, client.userId)).master_keys[client.userId], signed)
  })

  test('of two first uploads at once one is stored, and the other has to prove who it is', async () => {
    const ann = await server.register('ann-race', testPassword)
    const both = [makeIdentity(ann.userId), makeIdentity(ann.userId)]
    const replies = await Promise.all(both.map(({ body }) => upload(ann, body)))
    assert.deepEqual(replies.map(({ status }) => status).sort(), [200, 401])
    const winner = both[replies.findIndex(({ status }) => status === 200)]!
    assert.equal((await seenBy(eve, ann.userId))[0], winner.master.publicKey)
  })

  test('a wrong signature of the master key is 400 M_INVALID_SIGNATURE, and nothing of the upload is stored', async () => {
    const ann = await server.register('ann-wrong', testPassword)
    const { body, master, selfSigning } = makeIdentity(ann.userId)
    const other = makeIdentity(ann.userId)
    const { signatures: _, ...unsigned } = body.self_signing_key
    const forged: Signed[] = [
      unsigned,
      other.body.self_signing_key,
      selfSigning.sign(unsigned, ann.userId),
      selfSigning.sign(unsigned, ann.userId, master.publicKey),
      master.sign(unsigned, eve.userId),
      { ...body.self_signing_key, more: 1 },
      { ...body.self_signing_key, signatures: { [ann.userId]: { [`ed25519:${master.publicKey}`]: '%'.repeat(86) } } },
    ]
    for (const key of forged) {
      refused(await upload(ann, { ...body, self_signing_key: key }), 400, 'M_INVALID_SIGNATURE')
      refused(
        await upload(ann, { master_key: body.master_key, user_signing_key: { ...key, usage: ['user_signing'] } }),
        400,
        'M_INVALID_SIGNATURE',
      )
    }
    assert.deepEqual(await seenBy(ann, ann.userId), [undefined, undefined, undefined])
    accepted(await upload(ann, body))
    refused(await upload(ann, { self_signing_key: other.body.self_signing_key, auth: passwordOf(ann) }), 400, 'M_INVALID_SIGNATURE')
    assert.equal((await seenBy(ann, ann.userId))[1], selfSigning.publicKey)
  })

  test('without any master key it is 400 M_MISSING_PARAM', async () => {
    const ann = await server.register('ann-without', testPassword)
    const { self_signing_key, user_signing_key } = makeIdentity(ann.userId).body
    for (const keys of [{}, { self_signing_key }, { user_signing_key }, { self_signing_key, user_signing_key, master_key: null }])
      refused(await upload(ann, keys), 400, 'M_MISSING_PARAM')
  })

  test('what is no cross-signing key is refused', async () => {
    const ann = await server.register('ann-bad', testPassword)
    const { body, master, selfSigning } = makeIdentity(ann.userId)
    const key = body.master_key
    const name = `ed25519:${master.publicKey}`
    const bad: [number, string, Signed][] = [
      [400, 'M_INVALID_PARAM', {}],
      [400, 'M_INVALID_PARAM', { ...key, user_id: eve.userId }],
      [400, 'M_INVALID_PARAM', { ...key, user_id: undefined }],
      [400, 'M_INVALID_PARAM', { ...key, usage: ['self_signing'] }],
      [400, 'M_INVALID_PARAM', { ...key, usage: 'master' }],
      [400, 'M_INVALID_PARAM', { ...key, usage: [] }],
      [400, 'M_INVALID_PARAM', { ...key, keys: {} }],
      [400, 'M_INVALID_PARAM', { ...key, keys: [master.publicKey] }],
      [400, 'M_INVALID_PARAM', { ...key, keys: { [name]: null } }],
      [400, 'M_INVALID_PARAM', { ...key, keys: { [name]: selfSigning.publicKey } }],
      [400, 'M_INVALID_PARAM', { ...key, keys: { ...key.keys, [`ed25519:${selfSigning.publicKey}`]: selfSigning.publicKey } }],
      [400, 'M_INVALID_PARAM', { ...key, keys: { [`curve25519:${master.publicKey}`]: master.publicKey } }],
      ...['', '*'.repeat(43), 'A'.repeat(42), 'A'.repeat(44), `${'A'.repeat(42)}B`, 'A\u0000'].map((text): [number, string, Signed] => [
        400,
        'M_INVALID_PARAM',
        { ...key, keys: { [`ed25519:${text}`]: text } },
      ]),
      [400, 'M_INVALID_PARAM', { ...key, signatures: 'x' }],
      [400, 'M_INVALID_PARAM', { ...key, signatures: { [ann.userId]: [] } }],
      [400, 'M_INVALID_PARAM', { ...key, signatures: { [ann.userId]: { [name]: 1 } } }],
      [400, 'M_BAD_JSON', { ...key, more: 0.5 }],
      [400, 'M_BAD_JSON', { ...key, more: '\ud800' }],
      [400, 'M_BAD_JSON', 'a key'],
      [400, 'M_BAD_JSON', []],
      [413, 'M_TOO_LARGE', { ...key, more: 'x'.repeat(16_384) }],
      [413, 'M_TOO_LARGE', { ...key, more: 'x'.repeat(1_048_576) }],
    ]
    for (const [status, errcode, master_key] of bad) refused(await upload(ann, { ...body, master_key }), status, errcode)
    refused(await upload(ann, { ...body, auth: 'x' }), 400, 'M_BAD_JSON')
    const query = 'mutation($key: JsonObject) { uploadCrossSigningKeys(masterKey: $key) }'
    const byGraphql = await ann.graphql(query, { key: { ...key, more: 0.5 } })
    assert.equal(byGraphql.errors[0].extensions.errcode, 'M_BAD_JSON')
    assert.deepEqual(await seenBy(ann, ann.userId), [undefined, undefined, undefined])
  })

  test('one key for two purposes is 400 M_INVALID_PARAM, in one upload and in two', async () => {
    const { client, identity } = await crossSigner(server, 'ann-twice')
    const bob = await server.register('bob-twice')
    const fresh = makeIdentity(bob.userId)
    const sameAs = (userId: string, { master }: typeof identity, usage: string, { publicKey } = master) =>
      master.sign({ user_id: userId, usage: [usage], keys: { [`ed25519:${publicKey}`]: publicKey } }, userId)
    for (const keys of [
      { ...fresh.body, self_signing_key: sameAs(bob.userId, fresh, 'self_signing') },
      { ...fresh.body, user_signing_key: sameAs(bob.userId, fresh, 'user_signing', fresh.selfSigning) },
    ])
      refused(await upload(bob, keys), 400, 'M_INVALID_PARAM')
    assert.deepEqual(await seenBy(bob, bob.userId), [undefined, undefined, undefined])
    for (const keys of [
      { self_signing_key: sameAs(client.userId, identity, 'self_signing') },
      { user_signing_key: sameAs(client.userId, identity, 'user_signing', identity.selfSigning) },
    ])
      refused(await upload(client, { ...keys, auth: passwordOf(client) }), 400, 'M_INVALID_PARAM')
    assert.equal((await seenBy(client, client.userId))[1], identity.selfSigning.publicKey)
  })

  test('no key is called like a device, and no device like a key: 403 M_FORBIDDEN, 400 M_INVALID_PARAM', async () => {
    const { client, identity } = await crossSigner(server, 'ann-names')
    const logIn = (device_id: string) => server.request('POST', '/login', { ...passwordOf(client), device_id })
    for (const { publicKey } of [identity.master, identity.selfSigning, identity.userSigning])
      refused(await logIn(publicKey), 400, 'M_INVALID_PARAM')
    const others = makeIdentity(client.userId)
    for (const { publicKey } of [others.master, others.userSigning]) {
      accepted(await logIn(publicKey))
      refused(await upload(client, { ...others.body, auth: passwordOf(client) }), 403, 'M_FORBIDDEN')
    }
    assert.equal((await seenBy(eve, client.userId))[0], identity.master.publicKey)
  })

  test('a new master key drops what the old one signed, and every signature on it', async () => {
    const [ann, bob] = [await crossSigner(server, 'ann-new'), await crossSigner(server, 'bob-new')]
    const { client, identity } = ann
    const masterOf = async ({ identity: { master, body } }: typeof ann, by: (key: Signed) => Signed) => ({
      [master.publicKey]: by(body.master_key),
    })
    const onDevice = identity.selfSigning.sign(ann.deviceKeys, client.userId)
    const annSigns = {
      [client.userId]: {
        ...(await masterOf(ann, (key) => ann.deviceKey.sign(key, client.userId, client.deviceId))),
        [client.deviceId]: onDevice,
      },
      [bob.client.userId]: await masterOf(bob, (key) => identity.userSigning.sign(key, client.userId)),
    }
    assert.deepEqual(await signKeys(client, annSigns), {})
    assert.deepEqual(
      await signKeys(bob.client, { [client.userId]: await masterOf(ann, (key) => bob.identity.userSigning.sign(key, bob.client.userId)) }),
      {},
    )
    const instance = await server.server.host.defaultInstance()
    const user = (await instance.storage.first('user', { userId: client.userId }))!.key
    const rows = async () => [
      await instance.storage.count('signature', { user }),
      await instance.storage.count('signature', { signer: user }),
    ]
    assert.deepEqual(await rows(), [3, 3])

    const others = makeIdentity(client.userId)
    accepted(await upload(client, { master_key: others.body.master_key, auth: passwordOf(client) }))
    assert.deepEqual(await seenBy(client, client.userId), [others.master.publicKey, undefined, undefined])
    const device = (await queryKeys(eve, client.userId)).device_keys[client.userId][client.deviceId]
    assert.deepEqual(device.signatures, ann.deviceKeys.signatures)
    assert.equal((await queryKeys(client, bob.client.userId)).master_keys[bob.client.userId].signatures, undefined)
    assert.deepEqual(await rows(), [0, 0])
    // The keys below it need the new one's signature.
    const { self_signing_key } = identity.body
    refused(await upload(client, { self_signing_key, auth: passwordOf(client) }), 400, 'M_INVALID_SIGNATURE')
    const again = others.master.sign({ ...self_signing_key, signatures: undefined }, client.userId)
    accepted(await upload(client, { self_signing_key: again, auth: passwordOf(client) }))
    assert.deepEqual(await signKeys(client, { [client.userId]: { [client.deviceId]: onDevice } }), {})
  })

  test('a new self-signing key drops the signatures of the old one, and of no other', async () => {
    const { client, identity, deviceKey, deviceKeys } = await crossSigner(server, 'ann-self')
    const signed = {
      [client.deviceId]: identity.selfSigning.sign(deviceKeys, client.userId),
      [identity.master.publicKey]: deviceKey.sign(identity.body.master_key, client.userId, client.deviceId),
    }
    assert.deepEqual(await signKeys(client, { [client.userId]: signed }), {})
    const { self_signing_key } = makeIdentity(client.userId, identity.master).body
    accepted(await upload(client, { self_signing_key, auth: passwordOf(client) }))
    const seen = await queryKeys(eve, client.userId)
    assert.deepEqual(seen.device_keys[client.userId][client.deviceId].signatures, deviceKeys.signatures)
    assert.deepEqual(seen.master_keys[client.userId], signed[identity.master.publicKey])
  })

  test('room-mates hear of new keys, strangers do not, and of a user-signing key alone only the user hears', async () => {
    const [ann, bob] = [await crossSigner(server, 'ann-told'), await server.register('bob-told')]
    const roomId = await ann.client.createRoom({ invite: [bob.userId] })
    accepted(await bob.post(`/join/${encode(roomId)}`))
    const ears = await Promise.all([ann.client, bob, eve].map((client) => Listener.start(client)))
    const heard = () => Promise.all(ears.map((ear) => ear.heard()))
    const { userId } = ann.client
    const { body } = makeIdentity(userId, ann.identity.master)
    accepted(await upload(ann.client, { self_signing_key: body.self_signing_key, auth: passwordOf(ann.client) }))
    assert.deepEqual(await heard(), [[userId], [userId], []])
    accepted(await upload(ann.client, { user_signing_key: body.user_signing_key, auth: passwordOf(ann.client) }))
    assert.deepEqual(await heard(), [[userId], [], []])
    accepted(await upload(ann.client, { ...makeIdentity(userId).body, auth: passwordOf(ann.client) }))
    assert.deepEqual(await heard(), [[userId], [userId], []])
  })

  test('an appservice needs no password for its own users, and as the owner it is 403 M_FORBIDDEN', async () => {
    const bridge = await registerBridge(server, 'signing')
    for (const userId of [bridge.botId, bridge.ghost(1)]) {
      for (const { body, master } of [makeIdentity(userId), makeIdentity(userId)]) {
        accepted(await bridge.as(userId).request('POST', crossSigningPath, body))
        assert.equal((await seenBy(eve, userId))[0], master.publicKey)
      }
    }
    const { body } = makeIdentity(server.owner.userId)
    refused(await bridge.as(server.owner.userId).request('POST', crossSigningPath, body), 403, 'M_FORBIDDEN')
    const query = 'mutation($key: JsonObject) { uploadCrossSigningKeys(masterKey: $key) }'
    const path = `/graphql?user_id=${encode(server.owner.userId)}`
    const json = { headers: { 'content-type': 'application/json' } }
    const byGraphql = await server.client(bridge.as_token).request('POST', path, { query, variables: { key: body.master_key } }, json)
    assert.equal(byGraphql.body.errors[0].extensions.errcode, 'M_FORBIDDEN')
    assert.deepEqual(await seenBy(eve, server.owner.userId), [undefined, undefined, undefined])
  })

  test('by GraphQL, at the older address and behind a restart they are the same', async () => {
    const ann = await server.register('ann-faces', testPassword)
    const { body, master, selfSigning, userSigning } = makeIdentity(ann.userId)
    const query = `mutation($m: JsonObject, $s: JsonObject, $u: JsonObject, $auth: JsonObject) {
      uploadCrossSigningKeys(masterKey: $m, selfSigningKey: $s, userSigningKey: $u, auth: $auth)
    }`
    const variables = { m: body.master_key, s: body.self_signing_key, u: body.user_signing_key }
    assert.deepEqual((await ann.graphql(query, variables)).data, { uploadCrossSigningKeys: true })
    const seen = [master, selfSigning, userSigning].map(({ publicKey }) => publicKey)
    assert.deepEqual(await seenBy(ann, ann.userId), seen)
    accepted(await ann.post('/_matrix/client/unstable/keys/device_signing/upload', body))
    const other = { m: makeIdentity(ann.userId, signingKey()).body.master_key }
    const [error] = (await ann.graphql(query, other)).errors
    assert.deepEqual(error.extensions.flows, [{ stages: ['m.login.password'] }])
    await server.restart()
    assert.deepEqual(await seenBy(ann, ann.userId), seen)
    accepted(await upload(ann, body))
    assert.equal((await upload(ann, { master_key: other.m })).status, 401)
  })
})
