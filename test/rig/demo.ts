/** `npm run demo`: the test rig left running. A server, an instance and our example bridge, to chat with from any client and to watch in GraphiQL. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { wholeRegistration } from '../../src/appservices/registration.ts'
import { registerBridge, setBridgeAddress } from '../../src/appservices/registrations.ts'
import { readConfig } from '../../src/config.ts'
import { systemPorts } from '../../src/ports.ts'
import { openServer } from '../../src/server.ts'
import { loginWithPassword } from '../../src/users/accounts.ts'
import { type BridgeRegistration, ExampleBridge } from './example-bridge.ts'

const dataDir = mkdtempSync(join(tmpdir(), 'hungryserv-demo-'))
const config = readConfig({ USER_DOMAIN: 'localhost', OWNER: 'you', LOG_LEVEL: 'warn', ...process.env, DATA_DIR: dataDir })
const ports = systemPorts(pino({ level: config.logLevel }))
await using server = await openServer({ config, ports })
const { owner } = server.firstAccounts!
const instance = await server.host.defaultInstance()
const session = await loginWithPassword(instance, { user: owner.userId, password: owner.password, displayName: 'GraphiQL' })
const { actor } = await server.host.authenticate(session.accessToken, null)

const row = await registerBridge(instance, actor, { id: 'example', url: null })
await using bridge = await ExampleBridge.start({
  homeserverUrl: server.url,
  registration: wholeRegistration(row) as unknown as BridgeRegistration,
  domain: config.bridgeDomain,
  async onMessage(event, self) {
    const text = event.content.body
    if (event.sender !== owner.userId || typeof text !== 'string') return
    await self.say(event.room_id, 'ada', /^(hi|hello)\b/i.test(text) ? 'Hello! I live on another network.' : `You said: ${text}`)
  },
})
await setBridgeAddress(instance, actor, 'example', bridge.url)
const roomId = await bridge.createPortal('Ada (example bridge)', ['ada'], [owner.userId])
await bridge.ask('PUT', `/profile/${encodeURIComponent(bridge.ghostId('ada'))}/displayname`, { displayname: 'Ada' }, bridge.ghostId('ada'))
await bridge.say(roomId, 'ada', 'Write to me: the bridge answers.')

process.stdout.write(`
Homeserver     ${server.url}
Log in as      ${owner.userId}
Password       ${owner.password}
Room           ${roomId}   "Ada (example bridge)"

GraphiQL       ${server.url}/graphql
  headers      {"authorization": "Bearer ${session.accessToken}"}
  watch live   subscription { timeline(roomId: "${roomId}") { sender { userId } common { ... on TextMessage { body } } } }
  write        mutation { sendMessage(roomId: "${roomId}", txnId: "1", content: { msgtype: "m.text", body: "hi" }) { eventId } }

Ctrl-C ends it and removes ${dataDir}.
`)
await new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
})
process.once('exit', () => rmSync(dataDir, { recursive: true, force: true }))
