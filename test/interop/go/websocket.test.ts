/**
 * A bridge on bridgev2 as Beeper's run: `software: hungry`, a websocket, history put before the present bit by bit. Server and bridge are
 * killed in turn at random moments while messages go both ways. KILL_SEED repeats a run as far as its chance is ours; `--full` makes it large.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MatrixClient } from 'matrix-js-sdk'
import { type ServerProcess, startProcess } from '../../bench/server-process.ts'
import { Chance, chooseSeed } from '../../kill/chance.ts'
import { PatientClient } from '../../kill/client.ts'
import { BridgeProcess, buildBridges, freePort, unencrypted } from './bridge-process.ts'
import { EchoNetwork, type EchoRecord } from './echo-network.ts'
import { RecordingProxy } from './recording-proxy.ts'
import { messageTexts, pageToFirst, readRoom } from './room-reader.ts'
import { openClient, query, until } from './sdk-client.ts'
import { Traffic } from './traffic.ts'
import { whatsappTests } from './whatsapp.ts'

interface Scale {
  readonly portals: number
  readonly ghosts: number
  readonly history: number
  /** the first so many portals have a longer history */
  readonly deep: number
  readonly deepHistory: number
  readonly batchSize: number
  readonly kills: number
  /** between two kills, ms */
  readonly longestLife: number
}

const full = process.env['FULL'] === 'true'
const scale: Scale = full
  ? { portals: 200, ghosts: 20, history: 20, deep: 10, deepHistory: 2_000, batchSize: 500, kills: 10, longestLife: 20_000 }
  : { portals: 10, ghosts: 5, history: 20, deep: 3, deepHistory: 300, batchSize: 100, kills: 3, longestLife: 4_000 }
const patience = full ? 30 * 60_000 : 60_000
const everyPortal = Array.from({ length: scale.portals }, (_, i) => i + 1)

function historyOf(portal: number): string[] {
  const length = portal <= scale.deep ? scale.deepHistory : scale.history
  return Array.from({ length }, (_, i) => `chat ${portal}, history ${i + 1} of ${length}`)
}

const missing = await buildBridges()
if (missing) process.stdout.write(`The bridges are skipped: ${missing}\n`)

describe('bridges in Go over the websocket', { skip: missing ?? false, timeout: patience + 120_000 }, () => {
  const chance = new Chance(chooseSeed())
  const end = new AbortController()
  const whatsapp = whatsappTests(() => ({ server, client }), { websocket: true })
  let dataDir: string
  let environment: Record<string, string>
  let server: ServerProcess
  /** by the servers that were killed */
  let printed = ''
  let client: MatrixClient
  let proxy: RecordingProxy
  let echo: BridgeProcess
  let network: EchoNetwork
  let traffic: Traffic | undefined
  /** room ids of the portals, the first at 0 */
  let roomIds: string[]

  before(async () => {
    dataDir = mkdtempSync(join(tmpdir(), 'hungryserv-websocket-'))
    environment = { USER_DOMAIN: 'home.test', BRIDGE_DOMAIN: 'bridges.test', PORT: String(await freePort()) }
    server = await startProcess({ dataDir, environment })
    proxy = await RecordingProxy.start(server.url)
    client = await openClient(server.url, server.owner)
  })

  after(async () => {
    end.abort()
    client?.stopClient()
    await traffic?.stop().catch(() => undefined)
    await Promise.all([echo?.stop('SIGKILL'), whatsapp.stop()])
    proxy?.close()
    await server?.stop()
    if (process.env['KEEP_DATA']) process.stdout.write(`${dataDir}\n`)
    else rmSync(dataDir, { recursive: true, force: true })
  })

  function patientOwner(): PatientClient {
    return new PatientClient({ url: server.url, token: client.getAccessToken()!, signal: end.signal })
  }

  async function state(): Promise<Record<string, unknown>> {
    return (await query(client, '{ bridge(id: "echobridge") { connected queueLength } }')).bridge
  }

  whatsapp.declare()

  test('echobridge runs with the configuration that our command line writes, and listens nowhere', async () => {
    const control = await freePort()
    echo = await BridgeProcess.start(server, {
      type: 'echobridge',
      program: 'echobridge',
      websocket: { homeserver: proxy.url, ownerToken: client.getAccessToken()! },
      settings: {
        network: {
          control: `127.0.0.1:${control}`,
          portals: scale.portals,
          ghosts: scale.ghosts,
          history: scale.history,
          deep: scale.deep,
          deep_history: scale.deepHistory,
        },
        bridge: { deduplicate_matrix_messages: true },
        // What is said is looked at, and encryption.test.ts is about the rest.
        encryption: unencrypted,
        backfill: { max_initial_messages: 50, queue: { enabled: true, batch_size: scale.batchSize, batch_delay: 1, max_batches: -1 } },
      },
    })
    network = new EchoNetwork(echo)
    assert.deepEqual([echo.config.homeserver.software, echo.config.homeserver.websocket], ['hungry', true])
    assert.deepEqual(echo.listeningPorts(), [control], 'only where we play its network')
    await until('its websocket', async () => (await state())['connected'])
  })

  test('the owner logs in through the provisioning proxy, and the rooms come', { timeout: patience }, async () => {
    const { login_id: loginId, step_id: step } = await echo.provision('POST', 'login/start/password')
    const answer = await echo.provision('POST', `login/step/${loginId}/${step}/user_input`, { username: 'alice', password: 'echo' })
    assert.equal(answer.type, 'complete')
    const made = await until(
      'the portals',
      async () => {
        const portals = await network.portals()
        const complete = portals.every(({ portal, room_id: id, bridged }) => id && bridged === Math.min(50, historyOf(portal).length))
        return complete ? portals : null
      },
      patience,
    )
    roomIds = made.map((portal) => portal.room_id)
    assert.equal(new Set(roomIds).size, scale.portals)
    assert.equal(echo.complaints(), '')
  })

  test(`server and bridge are killed in turn ${scale.kills} times while history is put before the present, a client pages back to the first event, and messages go both ways`, {
    timeout: patience,
  }, async (t) => {
    t.diagnostic(`KILL_SEED=${chance.seed}`)
    process.stdout.write(`KILL_SEED=${chance.seed}\n`)
    traffic = new Traffic({ owner: patientOwner(), network, roomIds, ghosts: scale.ghosts, chance })
    traffic.start()
    const paged = pageToFirst(openViewer, roomIds[0]!, historyOf(1)[0]!)
    echo.hurryBackfills()
    const progress = setInterval(() => process.stdout.write(`${echo.unfinishedBackfills()} chats lack history\n`), 30_000)
    end.signal.addEventListener('abort', () => clearInterval(progress))
    for (let n = 0; n < scale.kills; n++) {
      await sleep(chance.between(500, scale.longestLife))
      if (n % 2 === 0) await killServer()
      else await killBridge()
      process.stdout.write(
        `${n + 1} kills, ${traffic.said.size} said, ${traffic.heard.size} heard, ${proxy.transactions.size} transactions\n`,
      )
    }
    await until('a message of the remote side after the last kill', heardMore(traffic), 60_000)
    await traffic.stop()
    await until('the whole history', () => echo.unfinishedBackfills() === 0, patience)
    assert.deepEqual(await paged, historyOf(1), 'what the client saw of the history while it came')
    await until('an empty queue', async () => (await state())['queueLength'] === 0, 60_000)
    const attempts = [...proxy.transactions.values()]
    t.diagnostic(
      `${proxy.acknowledged.length} requests, ${attempts.length} transactions with ${attempts.flat().length} attempts, ${proxy.connections} connections`,
    )
  })

  /** While the server is away, later. */
  async function openViewer(): Promise<MatrixClient> {
    for (;;) {
      const viewer = await openClient(server.url, server.owner).catch(() => null)
      if (viewer) return viewer
      end.signal.throwIfAborted()
      await sleep(500)
    }
  }

  async function killServer(): Promise<void> {
    await server.stop('SIGKILL')
    printed += server.printed()
    await sleep(chance.between(0, 2_000))
    server = await startProcess({ dataDir, environment, accounts: server })
    assert.ok(server.startMs < 18_000)
  }

  async function killBridge(): Promise<void> {
    await echo.stop('SIGKILL')
    echo.hurryBackfills()
    await sleep(chance.between(0, 2_000))
    echo.launch()
  }

  function heardMore({ heard }: Traffic): () => boolean {
    const before = heard.size
    return () => heard.size > before
  }

  test('no transaction id was sent with two contents', () => {
    for (const [txnId, attempts] of proxy.transactions) assert.equal(new Set(attempts).size, 1, `${txnId}: ${attempts.join('\n')}`)
    assert.ok(proxy.transactions.size > 0)
  })

  test('no batch and no message was refused', () => {
    assert.deepEqual(proxy.refused, [])
  })

  test('every acknowledged event is there exactly once, those of a batch in its order', { timeout: patience }, async () => {
    for (const roomId of new Set(proxy.acknowledged.map((each) => each.roomId))) {
      const ids = (await readRoom(patientOwner(), roomId)).map((event) => event.event_id)
      const places = new Map(ids.map((id, place) => [id, place]))
      assert.equal(places.size, ids.length, 'an event came twice')
      for (const { eventIds } of proxy.acknowledged.filter((each) => each.roomId === roomId)) {
        const found = eventIds.map((id) => places.get(id) ?? -1)
        assert.ok(
          found.every((place, i) => place > (found[i - 1] ?? -1)),
          `${roomId}: ${eventIds.join()} stand at ${found.join()}`,
        )
      }
    }
    assert.ok(
      proxy.acknowledged.some((each) => each.kind === 'batch' && each.eventIds.length > 50),
      'no history was put before the present',
    )
  })

  test('every message of the owner stands exactly once in the table of the bridge, and what the remote side sent exactly once in its room', {
    timeout: patience,
  }, async () => {
    const rows = echo.allRows()
    const { said, heard } = traffic!
    assert.deepEqual(
      [...said].filter(([, id]) => rows.get(id) !== 1),
      [],
    )
    const texts = await Promise.all(roomIds.map((roomId) => readRoom(patientOwner(), roomId).then(messageTexts)))
    const sent = await Promise.all(everyPortal.map((portal) => network.messages(portal)))
    for (const [i, shown] of texts.entries()) {
      const live = (record: EchoRecord) => record.text.startsWith('heard')
      assert.deepEqual(
        shown.filter((text) => text.startsWith('heard')).toSorted(),
        sent[i]!.filter(live)
          .map((record) => record.text)
          .toSorted(),
      )
      assert.deepEqual(
        shown.filter((text) => text.startsWith('chat')),
        historyOf(i + 1),
      )
    }
    const everywhere = texts.flat()
    for (const text of [...said.keys(), ...heard]) assert.equal(everywhere.filter((each) => each === text).length, 1, text)
    assert.ok(said.size > 0 && heard.size > 0)
  })

  whatsapp.declareLater()

  test('in the end nothing is left to deliver, and the servers have logged no error but that a bridge was away', async () => {
    await until('empty queues', async () => {
      const { bridges } = await query(client, '{ bridges { connected queueLength failures } }')
      return bridges.every(
        (bridge: Record<string, unknown>) => bridge['connected'] && bridge['queueLength'] === 0 && bridge['failures'] === 0,
      )
    })
    const errors = (printed + server.printed()).split('\n').filter((line) => /"level":[56]0/.test(line) && !line.includes('is unreachable'))
    assert.deepEqual(errors, [])
  })
})
