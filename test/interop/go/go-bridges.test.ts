/** The heart of the product: bridges on bridgev2, the framework under nearly every bridge in use, against a real server. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { MatrixClient, Room } from 'matrix-js-sdk'
import { type ServerProcess, startProcess } from '../../bench/server-process.ts'
import { BridgeProcess, buildBridges, freePort } from './bridge-process.ts'
import { EchoNetwork, type EchoPortal } from './echo-network.ts'
import { messages, openClient, readWhole, sendStatus, texts, until } from './sdk-client.ts'

const portals = 20
const ghosts = 10
const history = 20
/** The bridges take example.com for a configuration that nobody filled in. */
const environment = { USER_DOMAIN: 'home.test' }

const missing = await buildBridges()
if (missing) process.stdout.write(`Skipped: ${missing}\n`)

describe('bridges in Go', { skip: missing ?? false }, () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'hungryserv-bridges-'))
  let server: ServerProcess
  let client: MatrixClient
  let echo: BridgeProcess
  let network: EchoNetwork
  let rooms: readonly EchoPortal[]

  before(async () => {
    server = await startProcess({ dataDir, environment })
    client = await openClient(server.url, server.owner)
  })

  after(async () => {
    client?.stopClient()
    await echo?.stop()
    await server?.stop()
    if (process.env['KEEP_DATA']) process.stdout.write(`${dataDir}\n`)
    else rmSync(dataDir, { recursive: true, force: true })
  })

  test('echobridge runs with the configuration that our command line writes, and answers its provisioning API', async () => {
    const control = `127.0.0.1:${await freePort()}`
    echo = await BridgeProcess.start(server, { type: 'echobridge', program: 'echobridge', network: { control, portals, ghosts, history } })
    network = new EchoNetwork(echo)
    const whoami = await echo.provision('GET', 'whoami')
    assert.deepEqual(whoami.logins, [])
    const { flows } = await echo.provision('GET', 'login/flows')
    assert.deepEqual(flows.map((flow: { id: string }) => flow.id), ['password'])
  })

  test('a login by the provisioning API brings the rooms', async () => {
    const { login_id: loginId, step_id: step } = await echo.provision('POST', 'login/start/password')
    const answer = await echo.provision('POST', `login/step/${loginId}/${step}/user_input`, { username: 'alice', password: 'echo' })
    assert.equal(answer.type, 'complete')
    rooms = await until('the portals', async () => {
      const state = await network.portals()
      return state.length === portals && state.every((portal) => portal.room_id && portal.bridged === history) && state
    }, 45_000)
  })
})
