/** The heart of the product: bridges on bridgev2, the framework under nearly every bridge in use, against a real server. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { EventType, type MatrixClient, type MatrixEvent, MsgType, type Room } from 'matrix-js-sdk'
import { type ServerProcess, startProcess } from '../../bench/server-process.ts'
import { BridgeProcess, buildBridges, freePort } from './bridge-process.ts'
import { EchoNetwork, type EchoRecord } from './echo-network.ts'
import {
  insist,
  messages,
  openClient,
  query,
  react,
  reactions,
  readUpTo,
  readWhole,
  sendStatus,
  texts,
  until,
  whenSettled,
} from './sdk-client.ts'
import { whatsappTests } from './whatsapp.ts'

const portals = 20
const ghosts = 10
const history = 20
const everyPortal = Array.from({ length: portals }, (_, i) => i + 1)

const missing = await buildBridges()
if (missing) process.stdout.write(`The bridges are skipped: ${missing}\n`)

// Not example.com, which the bridges take for a configuration that nobody has filled in.
for (const domains of [{ USER_DOMAIN: 'home.test' }, { USER_DOMAIN: 'home.test', BRIDGE_DOMAIN: 'bridges.test' }]) bridgeOn(domains)

// The time limit of a single test would hold for the whole of them.
function bridgeOn(domains: Record<string, string>): void {
  describe(`bridges in Go on ${Object.values(domains).at(-1)}, people on ${domains['USER_DOMAIN']}`, {
    skip: missing ?? false,
    timeout: 240_000,
  }, () => {
    const whatsapp = whatsappTests(() => ({ server, client }), { websocket: false })
    let dataDir: string
    let environment: Record<string, string>
    let server: ServerProcess
    let client: MatrixClient
    let echo: BridgeProcess
    let network: EchoNetwork
    /** room ids of the portals, the first at 0 */
    let roomIds: string[]

    before(async () => {
      dataDir = mkdtempSync(join(tmpdir(), 'hungryserv-bridges-'))
      environment = { ...domains, PORT: String(await freePort()) }
      server = await startProcess({ dataDir, environment })
      client = await openClient(server.url, server.owner)
    })

    after(async () => {
      client?.stopClient()
      await Promise.all([echo?.stop(), whatsapp.stop()])
      await server?.stop()
      if (process.env['KEEP_DATA']) process.stdout.write(`${dataDir}\n`)
      else rmSync(dataDir, { recursive: true, force: true })
    })

    function roomOf(portal: number, viewer = client): Room {
      return viewer.getRoom(roomIds[portal - 1])!
    }

    /** The id of what the owner says in a portal. */
    async function say(portal: number, text: string): Promise<string> {
      return (await client.sendTextMessage(roomIds[portal - 1]!, text)).event_id
    }

    async function receivedFrom(eventId: string, kind = 'message'): Promise<EchoRecord[]> {
      return (await network.received(kind)).filter((record) => record.event_id === eventId)
    }

    describe('echobridge', () => {
      test('runs with the configuration that our command line writes, and answers its provisioning API', async () => {
        const control = `127.0.0.1:${await freePort()}`
        echo = await BridgeProcess.start(server, {
          type: 'echobridge',
          program: 'echobridge',
          settings: { network: { control, portals, ghosts, history } },
        })
        network = new EchoNetwork(echo)
        assert.deepEqual((await echo.provision('GET', 'whoami')).logins, [])
        const { flows } = await echo.provision('GET', 'login/flows')
        assert.deepEqual(
          flows.map((flow: { id: string }) => flow.id),
          ['password'],
        )
      })

      test('brings its rooms after a login by the provisioning API, without a complaint', async () => {
        const { login_id: loginId, step_id: step } = await echo.provision('POST', 'login/start/password')
        const answer = await echo.provision('POST', `login/step/${loginId}/${step}/user_input`, { username: 'alice', password: 'echo' })
        assert.equal(answer.type, 'complete')
        const made = await until(
          'the portals',
          async () => {
            const state = await network.portals()
            return state.every((portal) => portal.room_id && portal.bridged === history) ? state : null
          },
          45_000,
        )
        roomIds = made.map((portal) => portal.room_id)
        assert.equal(new Set(roomIds).size, portals)
        assert.equal(echo.complaints(), '')
      })

      for (const viewer of ['the client that was there all the time', 'one that logs in afterwards']) {
        test(`${viewer} sees ${portals} rooms with ${ghosts} ghosts and exactly ${history} messages each, in order`, async () => {
          const fresh = viewer.startsWith('one')
          const observer = fresh ? await openClient(server.url, server.owner) : client
          try {
            await until('the rooms', () => everyPortal.every((portal) => roomOf(portal, observer)?.getMyMembership() === 'join'))
            assert.equal(observer.getRooms().filter((room) => !room.isSpaceRoom()).length, portals)
            for (const portal of everyPortal) {
              const room = roomOf(portal, observer)
              await until('the last of the history', () => texts(room).includes(`chat ${portal}, history ${history} of ${history}`))
              await readWhole(observer, room)
              assert.deepEqual(
                texts(room),
                Array.from({ length: history }, (_, i) => `chat ${portal}, history ${i + 1} of ${history}`),
              )
              const shown = messages(room).map((event) => [event.getId(), event.getSender(), event.getTs()])
              const there = await network.messages(portal)
              assert.deepEqual(
                shown,
                there.map(({ event_id: id, ghost, ts }) => [id, ghost === 0 ? server.owner.userId : echo.ghost(ghost), ts]),
              )
              await room.loadMembersIfNeeded()
              const names = room.getJoinedMembers().map((member) => `${member.userId} ${member.rawDisplayName}`)
              for (let k = 1; k <= ghosts; k++) assert.ok(names.includes(`${echo.ghost(k)} Echo ${k}`), names.join())
              assert.equal(names.length, ghosts + 2, 'the ghosts, the bot and the owner')
              assert.equal(room.name, `Echo chat ${portal}`)
            }
            const [space] = observer.getRooms().filter((room) => room.isSpaceRoom())
            const children = () => space!.currentState.getStateEvents('m.space.child').map((event) => event.getStateKey())
            await until('the children of the space', () => children().length === portals)
            assert.deepEqual(new Set(children()), new Set(roomIds))
          } finally {
            if (fresh) observer.stopClient()
          }
        })
      }

      test('an answer in each room reaches the other side once: SUCCESS, the receipt of the bot, one row in bridge.db', async () => {
        const sent = await Promise.all(everyPortal.map((portal) => say(portal, `answer in ${portal}`)))
        for (const [i, eventId] of sent.entries()) {
          const portal = i + 1
          assert.equal(await whenSettled(roomOf(portal), eventId), 'SUCCESS')
          await until(`the receipt of the bot in portal ${portal}`, () => readUpTo(roomOf(portal), echo.bot) === eventId)
          const received = await receivedFrom(eventId)
          assert.deepEqual(
            received.map((record) => [record.portal, record.text, record.sender]),
            [[portal, `answer in ${portal}`, server.owner.userId]],
          )
          assert.equal(echo.rowsOf(eventId), 1)
        }
        assert.equal((await network.received('message')).length, portals)
      })

      test('what the bridge says of itself and of messages can be asked for', async () => {
        const eventId = await say(1, 'watched')
        await whenSettled(roomOf(1), eventId)
        const { bridges } = await query(client, '{ bridges { id states { remoteId stateEvent } } }')
        const said = bridges[0].states.map((state: Record<string, string>) => `${state['remoteId']} ${state['stateEvent']}`)
        assert.deepEqual(said, [' UNCONFIGURED', 'alice CONNECTED'], 'the bridge itself, from before the login, and the login')
        await until('the checkpoint', async () => {
          const { messageCheckpoints } = await query(client, 'query($id: String!) { messageCheckpoints(eventId: $id) { step status } }', {
            id: eventId,
          })
          return messageCheckpoints.some(
            (checkpoint: Record<string, string>) => checkpoint['step'] === 'REMOTE' && checkpoint['status'] === 'SUCCESS',
          )
        })
      })

      test('an edit, a reaction and redactions of the owner reach the other side', async () => {
        const [roomId, eventId] = [roomIds[0]!, await say(1, 'tpyo')]
        await whenSettled(roomOf(1), eventId)
        const [{ id: target }] = (await receivedFrom(eventId)) as [EchoRecord]
        const { event_id: editId } = await client.sendEvent(roomId, EventType.RoomMessage, {
          msgtype: MsgType.Text,
          body: '* typo',
          'm.new_content': { msgtype: MsgType.Text, body: 'typo' },
          'm.relates_to': { rel_type: 'm.replace', event_id: eventId },
        } as never)
        assert.equal(await whenSettled(roomOf(1), editId), 'SUCCESS')
        const reactionId = await react(client, roomIds[0]!, eventId, '👍')
        assert.equal(await whenSettled(roomOf(1), reactionId), 'SUCCESS')
        const { event_id: unreactId } = await client.redactEvent(roomId, reactionId)
        assert.equal(await whenSettled(roomOf(1), unreactId), 'SUCCESS')
        assert.equal((await network.messages(1)).find((message) => message.id === target)?.text, 'typo')
        const { event_id: removalId } = await client.redactEvent(roomId, eventId)
        assert.equal(await whenSettled(roomOf(1), removalId), 'SUCCESS')
        const all = await Promise.all(['edit', 'reaction', 'reaction_remove', 'redaction'].map((kind) => network.received(kind)))
        assert.deepEqual(
          all.flat().map((record) => [record.kind, record.portal, record.target, record.target_event_id, record.text || record.emoji]),
          [
            ['edit', 1, target, eventId, 'typo'],
            ['reaction', 1, target, eventId, '👍'],
            ['reaction_remove', 1, target, reactionId, '👍'],
            ['redaction', 1, target, eventId, ''],
          ].map((row) => [...row.slice(0, 4), row[4] || undefined]),
        )
      })

      test('messages, an edit, a reaction and a redaction of the other side reach the client', async () => {
        const [{ id: target, event_id: eventId }] = (await network.act({ kind: 'message', portal: 2, ghost: 3, text: 'helo' })) as [
          EchoRecord,
        ]
        const seen = await until('the message', () => roomOf(2).findEventById(eventId))
        assert.deepEqual([seen.getSender(), seen.getContent()['body']], [echo.ghost(3), 'helo'])
        await network.act({ kind: 'edit', portal: 2, target, text: 'hello' })
        await until('the edit', () => seen.getContent()['body'] === 'hello')
        await network.act({ kind: 'reaction', portal: 2, ghost: 4, target, emoji: '🎉' })
        await until('the reaction', () => reactions(roomOf(2), eventId).length === 1)
        assert.deepEqual(
          reactions(roomOf(2), eventId).map(([sender, key]) => [sender, key.replace('\ufe0f', '')]),
          [[echo.ghost(4), '🎉']],
        )
        await network.act({ kind: 'reaction_remove', portal: 2, ghost: 4, target, emoji: '🎉' })
        await until('no reaction', () => reactions(roomOf(2), eventId).length === 0)
        await network.act({ kind: 'redaction', portal: 2, ghost: 3, target })
        await until('the redaction', () => seen.isRedacted())
      })

      test('what the owner does on the other side shows as the owner’s own and is not sent back', async () => {
        const before = (await network.received('message')).length
        const [{ id: target, event_id: eventId }] = (await network.act({
          kind: 'message',
          portal: 3,
          ghost: 0,
          text: 'from my phone',
        })) as [EchoRecord]
        const seen = await until('the message', () => roomOf(3).findEventById(eventId))
        assert.equal(seen.getSender(), server.owner.userId)
        await network.act({ kind: 'reaction', portal: 3, ghost: 0, target, emoji: '❤' })
        await until('the reaction', () => reactions(roomOf(3), eventId).some(([sender]) => sender === server.owner.userId))
        const answer = await say(3, 'from my desk')
        assert.equal(await whenSettled(roomOf(3), answer), 'SUCCESS')
        assert.equal((await network.received('message')).length, before + 1)
        assert.equal((await network.received('reaction')).filter((record) => record.portal === 3).length, 0)
      })

      test('read receipts go both ways', async () => {
        const sent = await network.act({ kind: 'message', portal: 4, count: 3, text: 'read me' })
        const [first, second, last] = sent as [EchoRecord, EchoRecord, EchoRecord]
        const event = await until('the last message', () => roomOf(4).findEventById(last.event_id))
        assert.ok(roomOf(4).getUnreadNotificationCount() > 0)
        await network.act({ kind: 'receipt', portal: 4, ghost: 5, target: second.id })
        await until('the receipt of a ghost', () => readUpTo(roomOf(4), echo.ghost(5)) === second.event_id)
        await network.act({ kind: 'receipt', portal: 4, ghost: 0, target: first.id })
        await until('what the owner has read on the phone', () => readUpTo(roomOf(4), server.owner.userId) === first.event_id)
        await client.sendReadReceipt(event)
        await until('no unread count', () => roomOf(4).getUnreadNotificationCount() === 0)
        const received = await until('the receipt of the owner', async () => {
          const receipts = (await network.received('receipt')).filter((record) => record.portal === 4)
          return receipts.some((record) => record.target_event_id === last.event_id) ? receipts : null
        })
        assert.deepEqual(
          received.map((record) => record.target_event_id),
          [last.event_id],
          'the one from the phone is not sent back',
        )
      })

      test('typing goes both ways', async () => {
        // Not by the event: the SDK loses its listeners to members after a gap in what it synced.
        const seen = () => roomOf(5).getMember(echo.ghost(6))?.typing
        await network.act({ kind: 'typing', portal: 5, ghost: 6, ms: 30_000 })
        await until('a ghost typing', () => seen() === true)
        await network.act({ kind: 'typing', portal: 5, ghost: 6, ms: 0 })
        await until('a ghost that stopped', () => seen() === false)
        await client.sendTyping(roomIds[4]!, true, 20_000)
        const typing = async () =>
          (await network.received('typing')).filter((record) => record.portal === 5).map((record) => record.typing ?? false)
        await until('the owner typing', async () => (await typing()).at(-1) === true)
        await client.sendTyping(roomIds[4]!, false, 0)
        await until('the owner who stopped', async () => (await typing()).at(-1) === false)
      })

      test('an answer that the other side refuses shows a failure', async () => {
        await network.refuse('message')
        const eventId = await say(6, 'no way')
        assert.equal(await whenSettled(roomOf(6), eventId), 'FAIL_PERMANENT')
        await until('the notice', () =>
          messages(roomOf(6)).some((event) => event.getContent().msgtype === MsgType.Notice && event.getSender() === echo.bot),
        )
        assert.deepEqual(
          (await receivedFrom(eventId)).map((record) => record.refused),
          [true],
        )
        assert.equal(await whenSettled(roomOf(6), await say(6, 'all right')), 'SUCCESS')
      })

      test('a server killed while messages go both ways loses and doubles nothing', async () => {
        const burst = network.act({ kind: 'message', count: 3 * portals, text: 'burst' })
        const answers = everyPortal.map((portal) => insist(client, roomOf(portal), `during the kill ${portal}`))
        await until('the first of the burst', () => everyPortal.some((portal) => texts(roomOf(portal)).includes('burst 1')))
        await server.stop('SIGKILL')
        server = await startProcess({ dataDir, environment, accounts: server })
        await Promise.all([burst, ...answers])
        for (const portal of everyPortal) {
          const room = roomOf(portal)
          const said = () => texts(room).filter((text) => /^burst|^during the kill/.test(text))
          await until(`all messages in portal ${portal}`, () => said().length >= 4, 30_000)
          assert.deepEqual(
            said().filter((text) => text.startsWith('burst')),
            ['burst 1', 'burst 2', 'burst 3'],
          )
          const event = messages(room).find((candidate) => candidate.getContent()['body'] === `during the kill ${portal}`)!
          assert.equal(await whenSettled(roomOf(portal), event.getId()!), 'SUCCESS')
          assert.equal((await receivedFrom(event.getId()!)).length, 1)
          assert.equal(echo.rowsOf(event.getId()!), 1)
        }
        assert.equal((await network.received('message')).filter((record) => record.text.startsWith('during the kill')).length, portals)
      })

      test('a bridge that was away gets what was said meanwhile, once', async () => {
        const before = await network.portals()
        await echo.stop()
        const sent = await Promise.all(everyPortal.map((portal) => say(portal, `while away ${portal}`)))
        // Its first request, not a timer, is to end the wait.
        await until('failed deliveries', async () => (await query(client, '{ bridges { failures } }')).bridges[0].failures >= 3)
        await echo.run()
        for (const [i, eventId] of sent.entries()) {
          assert.equal(await whenSettled(roomOf(i + 1), eventId), 'SUCCESS')
          assert.equal((await receivedFrom(eventId)).length, 1)
          assert.equal(echo.rowsOf(eventId), 1)
        }
        assert.deepEqual(
          (await network.portals()).map((portal) => [portal.room_id, portal.bridged]),
          before.map((portal) => [portal.room_id, portal.bridged + 1]),
        )
        const [{ event_id: eventId }] = (await network.act({ kind: 'message', portal: 7, ghost: 1, text: 'back again' })) as [EchoRecord]
        await until('a message after the restart', () => roomOf(7).findEventById(eventId))
      })

      test('at the end both sides have the same messages', async () => {
        const fresh = await openClient(server.url, server.owner)
        try {
          for (const portal of everyPortal) {
            const room = roomOf(portal, fresh)
            await readWhole(fresh, room)
            const there = (await network.messages(portal))
              .filter((message) => !message.deleted)
              .map((message) => [message.event_id, message.text])
            const shown = messages(room).filter(
              (event: MatrixEvent) => event.getSender() !== echo.bot && sendStatus(room, event.getId()!) !== 'FAIL_PERMANENT',
            )
            const here = shown.map((event) => [event.getId()!, event.getContent()['body'] as string])
            assert.deepEqual(here.slice(0, history), there.slice(0, history))
            assert.deepEqual(here.toSorted(), there.toSorted())
          }
        } finally {
          fresh.stopClient()
        }
      })
    })

    whatsapp.declare()

    test('in the end nothing is left to deliver, and the server has logged no error', async () => {
      await until('the last delivery', async () => {
        const { bridges } = await query(client, '{ bridges { queueLength failures } }')
        return bridges.every((bridge: Record<string, number>) => bridge['queueLength'] === 0 && bridge['failures'] === 0)
      })
      assert.doesNotMatch(server.printed(), /"level":[56]0/)
    })
  })
}
