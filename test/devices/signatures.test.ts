/** Signatures on keys that are there already: whose count, what is refused key by key, who sees them and who is told. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { SignatureRow } from '../../src/storage/tables.ts'
import { command } from '../../src/stream/command.ts'
import { onBothServers } from '../rig/both-servers.ts'
import { type Client, type TestServer, testPassword } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'
import { makeDeviceKeys, makeIdentity, type Signed, signingKey } from './rig.ts'
import { accepted, crossSigner, crossSigningPath, Listener, type Person, passwordOf, queryKeys, refused, signKeys } from './signing-rig.ts'
import { keyOf } from './to-device-rig.ts'

const encode = encodeURIComponent
const path = '/keys/signatures/upload'

await onBothServers('signatures', (start) => {
  let server: TestServer
  let eve: Person

  before(async () => {
    server = await start()
    eve = await crossSigner(server, 'eve')
  })
  after(() => server[Symbol.asyncDispose]())

  /** The device's keys signed by the self-signing key. */
  const signedDevice = ({ client, identity, deviceKeys }: Person) => identity.selfSigning.sign(deviceKeys, client.userId)
  /** The master key signed by the device. */
  const signedMaster = ({ client, identity, deviceKey }: Person) => deviceKey.sign(identity.body.master_key, client.userId, client.deviceId)
  /** What to upload to sign somebody's master key with one's own user-signing key. */
  const trust = (by: Person, of: Person) => ({
    [of.client.userId]: { [of.identity.master.publicKey]: by.identity.userSigning.sign(of.identity.body.master_key, by.client.userId) },
  })
  /** The errcodes of the failures. */
  const errcodes = (failures: Signed): Signed =>
    Object.fromEntries(
      Object.entries(failures as Record<string, Record<string, { errcode: string; error: string }>>).map(([userId, keys]) => [
        userId,
        Object.fromEntries(Object.entries(keys).map(([name, { errcode, error }]) => [name, error && errcode])),
      ]),
    )

  async function deviceSeenBy(client: Client, { client: { userId, deviceId } }: Person): Promise<Signed> {
    const { unsigned: _, ...keys } = (await queryKeys(client, userId)).device_keys[userId][deviceId]
    return keys
  }

  async function masterSeenBy(client: Client, { client: { userId } }: Person): Promise<Signed> {
    return (await queryKeys(client, userId)).master_keys[userId]
  }

  async function shareRoom(...people: Person[]): Promise<void> {
    const [first, ...others] = people.map(({ client }) => client)
    const roomId = await first!.createRoom({ invite: others.map(({ userId }) => userId) })
    for (const other of others) accepted(await other.post(`/join/${encode(roomId)}`))
  }

  test('a device signed by its user’s self-signing key is so for everybody; room-mates are told', async () => {
    const [ann, bob] = [await crossSigner(server, 'ann-device'), await crossSigner(server, 'bob-device')]
    await shareRoom(ann, bob)
    const ears = await Promise.all([ann, bob, eve].map(({ client }) => Listener.start(client)))
    const { userId, deviceId } = ann.client
    // What else stands in `unsigned` and `signatures` is not looked at.
    const signed = { ...signedDevice(ann), unsigned: { device_display_name: 'x' } }
    signed.signatures['@nobody:elsewhere'] = { 'ed25519:X': 'x' }
    assert.deepEqual(await signKeys(ann.client, { [userId]: { [deviceId]: signed } }), {})
    for (const { client } of [ann, bob, eve]) assert.deepEqual(await deviceSeenBy(client, ann), signedDevice(ann))
    assert.deepEqual(await Promise.all(ears.map((ear) => ear.heard())), [[userId], [userId], []])
  })

  test('the master key signed by its user’s devices is so for everybody; room-mates are told', async () => {
    const [ann, bob] = [await crossSigner(server, 'ann-master'), await crossSigner(server, 'bob-master')]
    await shareRoom(ann, bob)
    const ears = await Promise.all([ann, bob, eve].map(({ client }) => Listener.start(client)))
    const { userId } = ann.client
    const signed = signedMaster(ann)
    // A device that is gone, and one that never was.
    signed.signatures[userId]['ed25519:GONE'] = signed.signatures[userId][`ed25519:${ann.client.deviceId}`]
    signed.signatures[userId]['curve25519:\0'] = 'x'
    assert.deepEqual(await signKeys(ann.client, { [userId]: { [ann.identity.master.publicKey]: signed } }), {})
    for (const { client } of [ann, bob, eve]) assert.deepEqual(await masterSeenBy(client, ann), signedMaster(ann))
    assert.deepEqual(await Promise.all(ears.map((ear) => ear.heard())), [[userId], [userId], []])
  })

  test('whom I trust only I see and only I am told', async () => {
    const [ann, bob] = [await crossSigner(server, 'ann-trusts'), await crossSigner(server, 'bob-trusted')]
    await shareRoom(ann, bob)
    const ears = await Promise.all([ann, bob, eve].map(({ client }) => Listener.start(client)))
    const upload = trust(ann, bob)
    assert.deepEqual(await signKeys(ann.client, upload), {})
    const { userId } = bob.client
    const seen = await Promise.all([ann, bob, eve].map(({ client }) => masterSeenBy(client, bob)))
    const bare = bob.identity.body.master_key
    assert.deepEqual(seen, [upload[userId]![bob.identity.master.publicKey], bare, bare])
    assert.deepEqual(await Promise.all(ears.map((ear) => ear.heard())), [[userId], [], []])
  })

  test('signatures/upload failures map: 200, with the errcode of each key that could not be taken; the others are', async () => {
    const [ann, bob] = [await crossSigner(server, 'ann-fails'), await crossSigner(server, 'bob-fails')]
    const { userId, deviceId } = ann.client
    const { master, selfSigning, userSigning, body } = ann.identity
    const nobody = await server.register('nobody-fails')
    const stranger = signingKey().publicKey
    const wrong = (signed: Signed): Signed => JSON.parse(JSON.stringify(signed).replaceAll(/:"[A-Za-z0-9+/]{86}"/g, `:"${'A'.repeat(86)}"`))
    const failures = await signKeys(ann.client, {
      [userId]: {
        [deviceId]: wrong(signedDevice(ann)),
        [master.publicKey]: signedMaster(ann),
        UNKNOWN: selfSigning.sign({ ...ann.deviceKeys, device_id: 'UNKNOWN' }, userId),
        '': signedDevice(ann),
        '\0': signedDevice(ann),
        ['x'.repeat(300)]: signedDevice(ann),
        // Keys that nobody signs but the master key.
        [selfSigning.publicKey]: ann.deviceKey.sign(body.self_signing_key, userId, deviceId),
        [userSigning.publicKey]: ann.deviceKey.sign(body.user_signing_key, userId, deviceId),
      },
      [bob.client.userId]: {
        [bob.identity.master.publicKey]: wrong(trust(ann, bob)[bob.client.userId]![bob.identity.master.publicKey]),
        [bob.client.deviceId]: userSigning.sign(bob.deviceKeys, userId),
        [stranger]: userSigning.sign(bob.identity.body.master_key, userId),
      },
      [nobody.userId]: { [nobody.deviceId]: {} },
      '@unknown:example.com': { [stranger]: {} },
      '@unknown:elsewhere.org': { [stranger]: {} },
      'no user \0 \ud800': { X: {} },
      __proto__: { X: {} },
      ...JSON.parse('{"__proto__":{"__proto__":{}}}'),
    })
    assert.deepEqual(errcodes(failures), {
      [userId]: {
        [deviceId]: 'M_INVALID_SIGNATURE',
        UNKNOWN: 'M_NOT_FOUND',
        '': 'M_NOT_FOUND',
        '\0': 'M_NOT_FOUND',
        ['x'.repeat(300)]: 'M_NOT_FOUND',
        [selfSigning.publicKey]: 'M_NOT_FOUND',
        [userSigning.publicKey]: 'M_NOT_FOUND',
      },
      [bob.client.userId]: {
        [bob.identity.master.publicKey]: 'M_INVALID_SIGNATURE',
        [bob.client.deviceId]: 'M_NOT_FOUND',
        [stranger]: 'M_NOT_FOUND',
      },
      [nobody.userId]: { [nobody.deviceId]: 'M_NOT_FOUND' },
      '@unknown:example.com': { [stranger]: 'M_NOT_FOUND' },
      '@unknown:elsewhere.org': { [stranger]: 'M_NOT_FOUND' },
      'no user \0 \ud800': { X: 'M_NOT_FOUND' },
      ...JSON.parse('{"__proto__":{"__proto__":"M_NOT_FOUND"}}'),
    })
    assert.deepEqual(await masterSeenBy(eve.client, ann), signedMaster(ann))
    assert.deepEqual(await deviceSeenBy(eve.client, ann), ann.deviceKeys)
    assert.deepEqual(await masterSeenBy(ann.client, bob), bob.identity.body.master_key)
  })

  test('nobody else’s signature counts, and no key’s for what it may not sign', async () => {
    const [ann, bob] = [await crossSigner(server, 'ann-others'), await crossSigner(server, 'bob-others')]
    const { client, identity, deviceKey, deviceKeys } = ann
    const { userId, deviceId } = client
    const { master, selfSigning, userSigning } = identity
    const key = identity.body.master_key
    const forDevice: Signed[] = [
      {},
      deviceKeys,
      master.sign(deviceKeys, userId),
      userSigning.sign(deviceKeys, userId),
      bob.identity.selfSigning.sign(deviceKeys, userId),
      bob.identity.selfSigning.sign(deviceKeys, userId, selfSigning.publicKey),
      bob.identity.userSigning.sign(deviceKeys, bob.client.userId),
      { ...signedDevice(ann), more: 1 },
      { ...signedDevice(ann), signatures: { [userId]: { [`ed25519:${selfSigning.publicKey}`]: 'x'.repeat(100_000) } } },
      { ...signedDevice(ann), signatures: { [userId]: { [`ed25519:${selfSigning.publicKey}`]: null } } },
      { ...signedDevice(ann), signatures: { [userId]: 'x' } },
      { ...signedDevice(ann), signatures: 'x' },
      selfSigning.sign({ ...deviceKeys, algorithms: [] }, userId),
    ]
    for (const signed of forDevice)
      assert.deepEqual(errcodes(await signKeys(client, { [userId]: { [deviceId]: signed } })), {
        [userId]: { [deviceId]: 'M_INVALID_SIGNATURE' },
      })
    const forMaster: Signed[] = [
      key,
      selfSigning.sign(key, userId),
      userSigning.sign(key, userId),
      signingKey().sign(key, userId, deviceId),
      bob.deviceKey.sign(key, userId, bob.client.deviceId),
      deviceKey.sign({ ...key, more: 1 }, userId, deviceId),
      // One that is right does not make up for one that is wrong.
      { ...signedMaster(ann), usage: ['master', 'self_signing'] },
    ]
    const name = master.publicKey
    for (const signed of forMaster)
      assert.deepEqual(errcodes(await signKeys(client, { [userId]: { [name]: signed } })), { [userId]: { [name]: 'M_INVALID_SIGNATURE' } })
    // Others sign it with their user-signing key only, and nobody signs their devices.
    const byBob = [
      bob.deviceKey.sign(key, bob.client.userId, bob.client.deviceId),
      bob.identity.selfSigning.sign(key, bob.client.userId),
      signedMaster(ann),
    ]
    for (const signed of byBob)
      assert.deepEqual(errcodes(await signKeys(bob.client, { [userId]: { [name]: signed } })), {
        [userId]: { [name]: 'M_INVALID_SIGNATURE' },
      })
    assert.deepEqual(await masterSeenBy(bob.client, ann), key)
    assert.deepEqual(await deviceSeenBy(client, ann), deviceKeys)
  })

  test('who has no cross-signing keys signs nothing', async () => {
    const client = await server.register('ann-without')
    const deviceKeys = makeDeviceKeys(client.userId, client.deviceId)
    accepted(await client.post('/keys/upload', { device_keys: deviceKeys }))
    const failures = await signKeys(client, {
      [client.userId]: { [client.deviceId]: signingKey().sign(deviceKeys, client.userId) },
      [eve.client.userId]: { [eve.identity.master.publicKey]: signingKey().sign(eve.identity.body.master_key, client.userId) },
    })
    assert.deepEqual(errcodes(failures), {
      [client.userId]: { [client.deviceId]: 'M_INVALID_SIGNATURE' },
      [eve.client.userId]: { [eve.identity.master.publicKey]: 'M_INVALID_SIGNATURE' },
    })
  })

  test('the same signature again changes nothing and tells nobody', async () => {
    const [ann, bob] = [await crossSigner(server, 'ann-repeats'), await crossSigner(server, 'bob-repeats')]
    const upload = {
      ...trust(ann, bob),
      [ann.client.userId]: { [ann.client.deviceId]: signedDevice(ann), [ann.identity.master.publicKey]: signedMaster(ann) },
    }
    assert.deepEqual(await signKeys(ann.client, upload), {})
    const listener = await Listener.start(ann.client)
    const instance = await server.server.host.defaultInstance()
    const position = instance.bus.published
    assert.deepEqual(await signKeys(ann.client, upload), {})
    assert.equal(instance.bus.published, position)
    // Those with which a key was uploaded are there as well.
    const whole = signedDevice(ann)
    accepted(await ann.client.post('/keys/upload', { device_keys: whole }))
    await listener.heard()
    assert.deepEqual(await signKeys(ann.client, { [ann.client.userId]: { [ann.client.deviceId]: whole } }), {})
    assert.deepEqual(await listener.heard(), [])
    assert.deepEqual(await deviceSeenBy(eve.client, ann), whole)
  })

  test('the keys of a device take their signatures with them when they change or go', async () => {
    const ann = await crossSigner(server, 'ann-changes')
    const { client, deviceKey } = ann
    const { userId } = client
    const session = accepted(await server.request('POST', '/login', passwordOf(client)))
    const tablet: Person = {
      ...ann,
      client: Object.assign(server.client(session.access_token, userId), { deviceId: session.device_id }),
      deviceKeys: makeDeviceKeys(userId, session.device_id, deviceKey),
    }
    accepted(await tablet.client.post('/keys/upload', { device_keys: tablet.deviceKeys }))
    const sign = async () =>
      assert.deepEqual(
        await signKeys(client, {
          [userId]: {
            [tablet.client.deviceId]: signedDevice(tablet),
            [ann.identity.master.publicKey]: signedMaster(tablet),
            [client.deviceId]: signedDevice(ann),
          },
        }),
        {},
      )
    await sign()
    // The same identity with other algorithms: nobody vouches for those, but what it signed stays signed.
    const other = deviceKey.sign({ ...tablet.deviceKeys, algorithms: [], signatures: {} }, userId, tablet.client.deviceId)
    accepted(await tablet.client.post('/keys/upload', { device_keys: other }))
    assert.deepEqual(await deviceSeenBy(eve.client, tablet), other)
    assert.deepEqual(await masterSeenBy(eve.client, ann), signedMaster(tablet))
    accepted(await tablet.client.post('/keys/upload', { device_keys: tablet.deviceKeys }))
    assert.deepEqual(await deviceSeenBy(eve.client, tablet), tablet.deviceKeys)
    await sign()
    // Another identity: what the one before signed is signed no more.
    const fresh = makeDeviceKeys(userId, session.device_id)
    accepted(await tablet.client.post('/keys/upload', { device_keys: fresh }))
    assert.deepEqual(await deviceSeenBy(eve.client, tablet), fresh)
    assert.deepEqual(await masterSeenBy(eve.client, ann), ann.identity.body.master_key)
    accepted(await tablet.client.post('/keys/upload', { device_keys: tablet.deviceKeys }))
    assert.deepEqual(await masterSeenBy(eve.client, ann), ann.identity.body.master_key)
    await sign()
    accepted(await tablet.client.post('/logout'))
    assert.deepEqual(await masterSeenBy(eve.client, ann), ann.identity.body.master_key)
    assert.deepEqual(await deviceSeenBy(eve.client, ann), signedDevice(ann))
    // Nothing waits for a device of the same name.
    const again = accepted(await server.request('POST', '/login', { ...passwordOf(client), device_id: session.device_id }))
    accepted(await server.client(again.access_token).post('/keys/upload', { device_keys: tablet.deviceKeys }))
    assert.deepEqual(await deviceSeenBy(eve.client, tablet), tablet.deviceKeys)
  })

  test('other shapes are 400 M_BAD_JSON, more than 100 signatures 413 M_TOO_LARGE', async () => {
    const ann = await crossSigner(server, 'ann-shapes')
    const { userId, deviceId } = ann.client
    for (const body of [[], 'x', { [userId]: [] }, { [userId]: null }, { [userId]: { [deviceId]: 'x' } }, { [userId]: { [deviceId]: [] } }])
      refused(await ann.client.post(path, body), 400, 'M_BAD_JSON')
    for (const more of [0.5, 2 ** 60, '\ud800'])
      refused(await ann.client.post(path, { [userId]: { [deviceId]: { ...signedDevice(ann), more } } }), 400, 'M_BAD_JSON')
    const names = (count: number) => Array.from({ length: count }, (_, index) => `D${index}`)
    const keys = (count: number) => Object.fromEntries(names(count).map((name) => [name, signedDevice(ann)]))
    refused(await ann.client.post(path, { [userId]: keys(51) }), 413, 'M_TOO_LARGE')
    assert.equal(Object.keys((await signKeys(ann.client, { [userId]: keys(50) }))[userId]).length, 50)
    refused(await ann.client.post(path, { [userId]: Object.fromEntries(names(101).map((name) => [name, {}])) }), 413, 'M_TOO_LARGE')
    const signatures = { [userId]: Object.fromEntries(names(101).map((name) => [`ed25519:${name}`, 'x'])) }
    refused(await ann.client.post(path, { [userId]: { [deviceId]: { ...ann.deviceKeys, signatures } } }), 413, 'M_TOO_LARGE')
    refused(await ann.client.post(path, { [userId]: { [deviceId]: { more: 'x'.repeat(1_048_576) } } }), 413, 'M_TOO_LARGE')
    assert.deepEqual(await signKeys(ann.client, {}), {})
    assert.deepEqual(await deviceSeenBy(eve.client, ann), ann.deviceKeys)
  })

  test('a key has the signatures of 1 000 others, and a user signs the keys of as many', async () => {
    const [ann, bob, cat] = [
      await crossSigner(server, 'ann-full'),
      await crossSigner(server, 'bob-full'),
      await crossSigner(server, 'cat-full'),
    ]
    const instance = await server.server.host.defaultInstance()
    const [annKey, catKey] = [await keyOf(instance, ann.client.userId), await keyOf(instance, cat.client.userId)]
    await command(instance, (decision) => {
      const row = { instance: instance.key, keyId: 'ed25519:x', signature: 'x', position: decision.takePosition() }
      const put = (place: Pick<SignatureRow, 'user' | 'target' | 'signer'>) => decision.write('signature', { ...row, ...place })
      for (let n = 1; n <= 1_000; n++) {
        put({ user: annKey, target: ann.identity.master.publicKey, signer: 1e9 + n })
        put({ user: 1e9 + n, target: 'x', signer: catKey })
      }
    })
    // The list of signatures is held from the uploads above.
    await server.restart()
    const full = (of: Person) => ({ [of.client.userId]: { [of.identity.master.publicKey]: 'M_RESOURCE_LIMIT_EXCEEDED' } })
    assert.deepEqual(errcodes(await signKeys(bob.client, trust(bob, ann))), full(ann))
    assert.deepEqual(errcodes(await signKeys(cat.client, trust(cat, bob))), full(bob))
    assert.deepEqual(await signKeys(bob.client, trust(bob, cat)), {})
    // The user's own do not count.
    const own = { [ann.client.deviceId]: signedDevice(ann), [ann.identity.master.publicKey]: signedMaster(ann) }
    assert.deepEqual(await signKeys(ann.client, { [ann.client.userId]: own }), {})
  })

  test('an appservice signs for its own users, and not for the owner or for a ghost that is not made yet', async () => {
    const bridge = await registerBridge(server, 'signatures')
    const ghost = { post: (to: string, body?: unknown) => bridge.as(bridge.ghost(1)).request('POST', to, body) }
    const { body, userSigning } = makeIdentity(bridge.ghost(1))
    refused(await ghost.post(path, {}), 403, 'M_FORBIDDEN')
    accepted(await ghost.post(crossSigningPath, body))
    const signed = userSigning.sign(eve.identity.body.master_key, bridge.ghost(1))
    const upload = { [eve.client.userId]: { [eve.identity.master.publicKey]: signed } }
    assert.deepEqual(await signKeys(ghost, upload), {})
    assert.deepEqual((await queryKeys(ghost, eve.client.userId)).master_keys[eve.client.userId], signed)
    assert.deepEqual(await masterSeenBy(eve.client, eve), eve.identity.body.master_key)
    refused(await bridge.as(server.owner.userId).request('POST', path, upload), 403, 'M_FORBIDDEN')
  })

  test('by GraphQL, at the older address and behind a restart they are the same', async () => {
    const ann = await crossSigner(server, 'ann-faces')
    const { userId, deviceId } = ann.client
    const query = 'mutation($signatures: JsonObject!) { uploadSignatures(signatures: $signatures) }'
    const signatures = { [userId]: { [deviceId]: signedDevice(ann), UNKNOWN: signedDevice(ann) } }
    const { data } = await ann.client.graphql(query, { signatures })
    assert.deepEqual(errcodes(data.uploadSignatures), { [userId]: { UNKNOWN: 'M_NOT_FOUND' } })
    assert.deepEqual(await deviceSeenBy(eve.client, ann), signedDevice(ann))
    const older = '/_matrix/client/unstable/keys/signatures/upload'
    const upload = { [userId]: { [ann.identity.master.publicKey]: signedMaster(ann) } }
    assert.deepEqual(accepted(await ann.client.post(older, upload)), { failures: {} })
    await server.restart()
    assert.deepEqual(await deviceSeenBy(eve.client, ann), signedDevice(ann))
    assert.deepEqual(await masterSeenBy(eve.client, ann), signedMaster(ann))
    assert.deepEqual(await signKeys(ann.client, upload), {})
    accepted(await ann.client.post(crossSigningPath, { ...makeIdentity(userId).body, auth: passwordOf(ann.client, testPassword) }))
    assert.deepEqual(await deviceSeenBy(eve.client, ann), ann.deviceKeys)
  })
})
