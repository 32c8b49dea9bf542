/**
 * Bridges on bridgev2 as Beeper's run, with the encryption that our command line writes into their configuration: every room is encrypted, keys come
 * in transactions over the websocket, and only devices that the owner has signed are trusted. Once the bot logs in, once its device is made by
 * the as_token alone (MSC4190).
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type ServerProcess, startProcess } from '../../bench/server-process.ts'
import { EncryptedClient } from '../js-sdk/encrypted-client.ts'
import { BridgeProcess, buildBridges, freePort } from './bridge-process.ts'
import { EchoNetwork } from './echo-network.ts'
import { query, until } from './sdk-client.ts'

const portals = 2
const history = 3

const missing = await buildBridges()
if (missing) process.stdout.write(`The bridges are skipped: ${missing}\n`)

for (const msc4190 of [false, true]) encryptedWith(msc4190)

function encryptedWith(msc4190: boolean): void {
  describe(`encrypted bridges whose bot ${msc4190 ? 'has a device by MSC4190' : 'logs in'}`, {
    skip: missing ?? false,
    timeout: 180_000,
  }, () => {
    let dataDir: string
    let environment: Record<string, string>
    let server: ServerProcess
    let printed = ''
    let owner: EncryptedClient
    let echo: BridgeProcess
    let whatsapp: BridgeProcess | undefined
    let network: EchoNetwork
    /** room ids of the portals, the first at 0 */
    let roomIds: string[]
    let botDevice: string

    before(async () => {
      dataDir = mkdtempSync(join(tmpdir(), 'hungryserv-encryption-'))
      environment = { USER_DOMAIN: 'home.test', BRIDGE_DOMAIN: 'bridges.test', PORT: String(await freePort()) }
      server = await startProcess({ dataDir, environment })
      owner = await EncryptedClient.login(server.url, server.owner)
      // Before the first message: the bridge refuses what comes from a device that its owner has not signed.
      await owner.setUp()
    })

    after(async () => {
      owner?.stop()
      await Promise.all([echo?.stop('SIGKILL'), whatsapp?.stop('SIGKILL')])
      await server?.stop()
      if (process.env['KEEP_DATA']) process.stdout.write(`${dataDir}\n`)
      else rmSync(dataDir, { recursive: true, force: true })
    })

    function bridge(type: string, program: string, settings: Record<string, Record<string, unknown>> = {}): Promise<BridgeProcess> {
      return BridgeProcess.start(server, {
        type,
        program,
        websocket: { ownerToken: owner.client.getAccessToken()! },
        settings,
      })
    }

    /** The only one that the user has keys for. */
    async function theDevice(userId: string): Promise<string> {
      const { device_keys: keys } = await owner.client.downloadKeysForUsers([userId])
      const [deviceId, ...more] = Object.keys(keys[userId]!)
      assert.deepEqual([typeof deviceId, more], ['string', []])
      return deviceId!
    }

    /** What the owner says arrives on the other side, and what is said there can be read. */
    async function bothWays(about: string): Promise<void> {
      for (const [i, roomId] of roomIds.entries()) {
        const eventId = await owner.say(roomId, `${about}, from the owner ${i}`)
        const received = await until(`"${about}" on the other side`, async () =>
          (await network.received('message')).find((record) => record.event_id === eventId),
        )
        assert.equal(received.text, `${about}, from the owner ${i}`)
        await network.act({ kind: 'message', portal: i + 1, ghost: 1, text: `${about}, from the other side ${i}` })
        await owner.reads(roomId, `${about}, from the other side ${i}`)
      }
    }

    test('echobridge runs with the encryption that our command line writes, and its bot has one device, with keys', async () => {
      echo = await bridge('echobridge', 'echobridge', {
        network: { control: `127.0.0.1:${await freePort()}`, portals, ghosts: 2, history },
        bridge: { deduplicate_matrix_messages: true },
        encryption: { msc4190 },
      })
      network = new EchoNetwork(echo)
      const { allow, default: byDefault, require, appservice, pickle_key: pickleKey, verification_levels: levels } = echo.config.encryption
      assert.deepEqual(
        [allow, byDefault, require, appservice, pickleKey, levels.send],
        [true, true, true, true, 'hungryserv', 'cross-signed-tofu'],
      )
      botDevice = await theDevice(echo.bot)
    })

    test('the owner logs in; the rooms come encrypted, and their history can be read', async () => {
      const { login_id: loginId, step_id: step } = await echo.provision('POST', 'login/start/password')
      await echo.provision('POST', `login/step/${loginId}/${step}/user_input`, { username: 'alice', password: 'echo' })
      const made = await until('the portals', async () => {
        const all = await network.portals()
        return all.every(({ room_id: id, bridged }) => id && bridged === history) ? all : null
      })
      roomIds = made.map((portal) => portal.room_id)
      for (const [i, roomId] of roomIds.entries()) {
        await until('its encryption', () => owner.crypto.isEncryptionEnabledInRoom(roomId))
        const wanted = Array.from({ length: history }, (_, n) => `chat ${i + 1}, history ${n + 1} of ${history}`)
        await until('the history', () => owner.read(roomId).length === history)
        assert.deepEqual(owner.read(roomId), wanted)
      }
    })

    test('messages go both ways, encrypted', () => bothWays('at first'))

    test('the bridge forgets the keys that have reached the owner’s backup', async () => {
      await until('the backup of both rooms', () => echo.forgottenSessions() >= portals)
    })

    test('a device that its owner has not signed is refused', async () => {
      const unsigned = await EncryptedClient.login(server.url, server.owner)
      try {
        const [roomId] = roomIds
        await until('the room', () => unsigned.client.getRoom(roomId!))
        const eventId = await unsigned.say(roomId!, 'from an unsigned device')
        const status = await until('the refusal', () => statusOf(unsigned, roomId!, eventId))
        assert.deepEqual([status['status'], status['reason']], ['FAIL_RETRIABLE', 'com.beeper.undecryptable_event'])
        assert.equal((await network.received('message')).filter((record) => record.event_id === eventId).length, 0)
      } finally {
        unsigned.stop()
      }
    })

    test('after the homeserver was killed', async () => {
      await server.stop('SIGKILL')
      printed += server.printed()
      server = await startProcess({ dataDir, environment, accounts: server })
      await bothWays('after the kill')
    })

    test('after the bridge was restarted, what was said meanwhile included', async () => {
      await echo.stop('SIGKILL')
      const eventIds = await Promise.all(roomIds.map((roomId) => owner.say(roomId, 'while the bridge was away')))
      await echo.run()
      for (const eventId of eventIds) {
        await until('what was said meanwhile', async () =>
          (await network.received('message')).some((record) => record.event_id === eventId),
        )
      }
      await bothWays('after the restart')
      assert.equal(await theDevice(echo.bot), botDevice, 'its keys were still there')
    })

    test('mautrix-whatsapp answers in an encrypted management room', async () => {
      whatsapp = await bridge('whatsapp', 'mautrix-whatsapp', { encryption: { msc4190 } })
      const { room_id: roomId } = await owner.client.createRoom({
        invite: [whatsapp.bot],
        is_direct: true,
        initial_state: [{ type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
      })
      const room = await until('the room', () => owner.client.getRoom(roomId))
      await until('the bot', () => room.getMember(whatsapp!.bot)?.membership === 'join')
      await owner.say(roomId, 'help')
      await until('the help', () => owner.read(roomId).some((text) => text.includes('login')))
      assert.deepEqual(owner.unreadable(roomId), [])
    })

    test('in the end nothing is left to deliver, and no server has logged an error', async () => {
      await until('empty queues', async () => {
        const { bridges } = await query(owner.client, '{ bridges { queueLength failures } }')
        return bridges.every((each: Record<string, number>) => each['queueLength'] === 0 && each['failures'] === 0)
      })
      assert.doesNotMatch(printed + server.printed(), /"level":[56]0/)
      for (const roomId of roomIds) assert.deepEqual(owner.unreadable(roomId), [])
    })
  })
}

/** The newest `com.beeper.message_send_status` of an event. */
function statusOf({ client }: EncryptedClient, roomId: string, eventId: string): Record<string, unknown> | undefined {
  const events = client.getRoom(roomId)!.getLiveTimeline().getEvents()
  const ofEvent = events.filter((event) => event.getContent()['m.relates_to']?.event_id === eventId)
  return ofEvent.findLast((event) => event.getType() === 'com.beeper.message_send_status')?.getContent()
}
