/** The real mautrix-whatsapp, as far as it goes without its network. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { MatrixClient } from 'matrix-js-sdk'
import type { ServerProcess } from '../../bench/server-process.ts'
import { BridgeProcess, unencrypted } from './bridge-process.ts'
import { texts, until } from './sdk-client.ts'

interface Scene {
  readonly server: ServerProcess
  readonly client: MatrixClient
}

/** `scene` is asked within the tests, when there is one. `declareLater` is for when the homeserver was killed; `stop` stops the bridge. */
export function whatsappTests(scene: () => Scene, { websocket }: { websocket: boolean }) {
  let whatsapp: BridgeProcess
  let managementRoom: string

  function declare(): void {
    describe('mautrix-whatsapp', () => {
      test('starts with the configuration that our command line writes, and answers its provisioning API', async () => {
        const { server, client } = scene()
        whatsapp = await BridgeProcess.start(server, {
          type: 'whatsapp',
          program: 'mautrix-whatsapp',
          settings: { encryption: unencrypted },
          ...(websocket && { websocket: { ownerToken: client.getAccessToken()! } }),
        })
        if (websocket) assert.deepEqual(whatsapp.listeningPorts(), [], 'over a websocket it needs no port')
        assert.deepEqual((await whatsapp.provision('GET', 'whoami')).logins, [])
        const { flows } = await whatsapp.provision('GET', 'login/flows')
        assert.deepEqual(flows.map((flow: { id: string }) => flow.id).toSorted(), ['phone', 'qr'])
      })

      test('its bot accepts the owner’s invite, makes a management room and answers help', async () => {
        const { client } = scene()
        const { room_id: roomId } = await client.createRoom({ invite: [whatsapp.bot], is_direct: true })
        const room = await until('the room', () => client.getRoom(roomId))
        await until('the bot', () => room.getMember(whatsapp.bot)?.membership === 'join')
        await until('the greeting', () => texts(room, whatsapp.bot).some((text) => text.includes('management room')))
        assert.equal((await whatsapp.provision('GET', 'whoami')).management_room, roomId)
        managementRoom = roomId
        await client.sendTextMessage(roomId, 'help')
        await until('the help', () => texts(room, whatsapp.bot).some((text) => text.includes('login')))
      })

      test('media of another server is 404 M_NOT_FOUND at once, and the avatar that lies there is set all the same', async () => {
        const { server, client } = scene()
        const started = performance.now()
        const address = `${server.url}/_matrix/client/v1/media/download/maunium.net/NeXNQarUbrlYBiPCpprYsRqr`
        const reply = await fetch(address, { headers: { authorization: `Bearer ${client.getAccessToken()}` } })
        assert.equal(reply.status, 404)
        assert.equal(((await reply.json()) as { errcode: string }).errcode, 'M_NOT_FOUND')
        assert.ok(performance.now() - started < 1_000)
        const { avatar_url: avatar, displayname } = await client.getProfileInfo(whatsapp.bot)
        assert.deepEqual([displayname, avatar], ['WhatsApp bridge bot', 'mxc://maunium.net/NeXNQarUbrlYBiPCpprYsRqr'])
        assert.equal(whatsapp.complaints(), '')
      })
    })
  }

  function declareLater(): void {
    test('mautrix-whatsapp comes back by itself, is sent what was said meanwhile, and answers it', { timeout: 240_000 }, async () => {
      const { client } = scene()
      const room = client.getRoom(managementRoom)!
      const answers = () => texts(room, whatsapp.bot).length
      const before = answers()
      await client.sendTextMessage(managementRoom, 'version')
      // After each broken connection it waits twice as long.
      await until('the answer', () => answers() > before, 200_000)
      assert.deepEqual((await whatsapp.provision('GET', 'whoami')).logins, [])
    })
  }

  return { declare, declareLater, stop: async () => whatsapp?.stop() }
}
