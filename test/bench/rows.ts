/** The rows of the bench, in the order of the targets. */
import { createServer } from 'node:http'
import { Load, quantile, rate } from './load.ts'
import { idleInstance, idleMemory, start } from './process-rows.ts'
import { type ServerProcess, startProcess } from './server-process.ts'

export interface World {
  readonly server: ServerProcess
  readonly load: Load
  readonly floorLoad: Load
  driverFloor(ms: number): number
  readonly token: string
  readonly ownerId: string
}

export interface Measured {
  readonly value: number
  /** the bare floor, in the same unit */
  readonly floor?: number
}

export interface Row {
  readonly name: string
  readonly unit: string
  /** null: its floor is what it is measured by */
  readonly target: number | null
  readonly higherIsBetter: boolean
  /** measured in one round only: too long for five */
  readonly once?: boolean
  measure(world: World, round: number): Promise<Measured>
}

const v3 = '/_matrix/client/v3'
const sliceMs = 1_500
/** 200 bytes */
const message = JSON.stringify({ msgtype: 'm.text', body: 'x'.repeat(200 - '{"msgtype":"m.text","body":""}'.length) })
let txn = 0

async function createRoom({ load, token }: World, body: unknown = { name: 'bench' }): Promise<string> {
  return (await load.request('POST', `${v3}/createRoom`, token, body))['room_id'] as string
}

function send(load: Load, token: string, roomId: string): Promise<unknown> {
  return load.text('PUT', `${v3}/rooms/${encodeURIComponent(roomId)}/send/m.room.message/b${txn++}`, token, message)
}

/** Somebody who receives by long poll for as long as the row runs. */
function receive({ load, token }: World, onAnswer: (at: number) => void = () => undefined): () => Promise<void> {
  let stopped = false
  const running = (async () => {
    let since = (await load.request('GET', `${v3}/sync?filter={"room":{"timeline":{"limit":1}}}`, token))['next_batch'] as string
    while (!stopped) {
      const answer = await load.request('GET', `${v3}/sync?timeout=200&since=${since}`, token)
      if (answer['rooms']) onAnswer(performance.now())
      since = answer['next_batch'] as string
    }
  })()
  return async () => {
    stopped = true
    await running
  }
}

function sends(clients: number, target: number): Row {
  return {
    name: `sends, ${clients} client${clients > 1 ? 's' : ''}`,
    unit: '/s',
    target,
    higherIsBetter: true,
    async measure(world) {
      const rooms = await Promise.all(Array.from({ length: clients }, () => createRoom(world)))
      const stop = receive(world)
      const value = await rate(clients, sliceMs, (client) => send(world.load, world.token, rooms[client]!))
      await stop()
      const route = await rate(clients, 500, () => world.floorLoad.text('PUT', '/empty', '', message))
      // One client waits for route and disk in turn; many share a commit.
      const floor = clients === 1 ? 1 / (1 / route + 1 / world.driverFloor(500)) : route
      return { value, floor }
    },
  }
}

/** What bridgev2 sends for a portal. */
export function portalBody(ownerId: string, ghosts: readonly string[]): unknown {
  const bridge = {
    bridgebot: '@benchbot:example.com',
    protocol: { id: 'bench', displayname: 'Bench' },
    channel: { id: 'c', displayname: 'Chat' },
  }
  return {
    preset: 'private_chat',
    visibility: 'private',
    name: 'Chat',
    topic: 'A portal',
    initial_state: [
      { type: 'm.bridge', state_key: 'com.bench:c', content: bridge },
      { type: 'uk.half-shot.bridge', state_key: 'com.bench:c', content: bridge },
      { type: 'm.room.avatar', state_key: '', content: { url: 'mxc://example.com/avatar' } },
      { type: 'm.room.guest_access', state_key: '', content: { guest_access: 'forbidden' } },
      { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'shared' } },
      { type: 'm.room.join_rules', state_key: '', content: { join_rule: 'invite' } },
      { type: 'com.beeper.room_features', state_key: '', content: { id: 'f', reply: 2, edit: 2, delete: 2, reaction: 2 } },
    ],
    creation_content: { 'm.federate': false },
    power_level_content_override: {
      users: { '@benchbot:example.com': 9001 },
      events: { 'm.room.name': 0, 'm.room.topic': 0, 'm.room.avatar': 0 },
    },
    is_direct: true,
    invite: [ownerId, ...ghosts],
    'com.beeper.initial_members': [ownerId, ...ghosts],
    'com.beeper.auto_join_invites': true,
    room_version: '11',
  }
}

let bridgeToken: Promise<string> | undefined
let ghost = 0

/** A bridge that receives nothing; `url` where its transactions go. */
export function bridge(world: Pick<World, 'load' | 'token'>, id: string, url: string | null): Promise<string> {
  return world.load
    .request('POST', '/graphql', world.token, {
      query:
        'mutation($id: String!, $url: String, $registration: JsonObject) { registerBridge(id: $id, url: $url, registration: $registration) { registration } }',
      variables: {
        id,
        url,
        registration: { sender_localpart: `${id}bot`, namespaces: { users: [{ regex: `@${id}_.*:example\\.com`, exclusive: true }] } },
      },
    })
    .then((answer) => {
      const data = answer['data'] as { registerBridge: { registration: { as_token: string } } } | null
      if (!data) throw new Error(JSON.stringify(answer))
      return data.registerBridge.registration.as_token
    })
}

const portals: Row = {
  name: 'portals with 1 ghost and the owner, 8 clients',
  unit: '/s',
  target: 1_000,
  higherIsBetter: true,
  async measure(world) {
    bridgeToken ??= bridge(world, 'bench', null)
    const token = await bridgeToken
    const value = await rate(8, sliceMs, () =>
      world.load.text('POST', `${v3}/createRoom`, token, portalBody(world.ownerId, [`@bench_${ghost++}:example.com`])),
    )
    return { value, floor: await rate(8, 500, () => world.floorLoad.text('PUT', '/empty', '', message)) }
  },
}

const largePortal: Row = {
  name: 'portal with 200 members in one call',
  unit: 'ms',
  target: 10,
  higherIsBetter: false,
  async measure(world) {
    bridgeToken ??= bridge(world, 'bench', null)
    const token = await bridgeToken
    const times: number[] = []
    for (let i = 0; i < 5; i++) {
      const ghosts = Array.from({ length: 200 }, () => `@bench_${ghost++}:example.com`)
      const start = performance.now()
      await world.load.text('POST', `${v3}/createRoom`, token, portalBody(world.ownerId, ghosts))
      times.push(performance.now() - start)
    }
    return { value: quantile(times, 0.5) }
  },
}

function wake(q: number, target: number): Row {
  return {
    name: `send → the other's long poll answers, p${q * 100}`,
    unit: 'ms',
    target,
    higherIsBetter: false,
    async measure(world) {
      const room = await createRoom(world)
      let sent = 0
      let answered: (at: number) => void = () => undefined
      const stop = receive(world, (at) => answered(at))
      const times: number[] = []
      for (let i = 0; i < 200; i++) {
        const arrived = new Promise<number>((resolve) => (answered = resolve))
        sent = performance.now()
        await send(world.load, world.token, room)
        times.push((await arrived) - sent)
        // As people write: closer together they would be gathered into fewer answers, on purpose.
        await new Promise((resolve) => setTimeout(resolve, 25))
      }
      await stop()
      return { value: quantile(times, q) }
    },
  }
}

const delivery: Row = {
  name: 'event → appservice transaction arrives, p50',
  unit: 'ms',
  target: 10,
  higherIsBetter: false,
  async measure(world, round) {
    let arrive: () => void = () => undefined
    const sink = createServer((request, response) => {
      let text = ''
      request.on('data', (chunk: Buffer) => (text += chunk.toString()))
      request.on('end', () => {
        response.end('{}')
        if (text.includes('delivery-bench')) arrive()
      })
    })
    await new Promise<void>((resolve) => sink.listen(0, '127.0.0.1', resolve))
    const id = `sink${round}`
    const token = await bridge(world, id, `http://127.0.0.1:${(sink.address() as { port: number }).port}`)
    const { room_id: room } = (await world.load.request('POST', `${v3}/createRoom`, token, { invite: [world.ownerId] })) as {
      room_id: string
    }
    const times: number[] = []
    for (let i = 0; i < 200; i++) {
      const arrived = new Promise<void>((resolve) => (arrive = resolve))
      const start = performance.now()
      await world.load.text('PUT', `${v3}/rooms/${encodeURIComponent(room)}/send/m.room.message/d${txn++}`, world.token, {
        msgtype: 'm.text',
        body: 'delivery-bench',
      })
      await arrived
      times.push(performance.now() - start)
    }
    sink.close()
    sink.closeAllConnections()
    return { value: quantile(times, 0.5) }
  },
}

const comeback: Row = {
  name: 'bridge back after an outage: first transaction',
  unit: 'ms',
  target: 1_000,
  higherIsBetter: false,
  async measure(world, round) {
    const sizes: number[] = []
    let arrive: () => void = () => undefined
    const sink = () =>
      createServer((request, response) => {
        let text = ''
        request.on('data', (chunk: Buffer) => (text += chunk.toString()))
        request.on('end', () => {
          response.end('{}')
          sizes.push((JSON.parse(text) as { events?: unknown[] }).events?.length ?? 0)
          arrive()
        })
      })
    const listen = (server: ReturnType<typeof sink>, port: number): Promise<void> =>
      new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
    const first = sink()
    await listen(first, 0)
    const { port } = first.address() as { port: number }
    const token = await bridge(world, `away${round}`, `http://127.0.0.1:${port}`)
    const room = (await world.load.request('POST', `${v3}/createRoom`, token, { invite: [world.ownerId] }))['room_id'] as string
    first.close()
    first.closeAllConnections()
    for (let i = 0; i < 500; i++) await send(world.load, world.token, room)
    sizes.length = 0
    const second = sink()
    await listen(second, port)
    const arrived = new Promise<void>((resolve) => (arrive = resolve))
    const start = performance.now()
    // Every bridge asks who it is when it starts.
    await world.load.text('GET', `${v3}/account/whoami`, token)
    await arrived
    const value = performance.now() - start
    while (sizes.reduce((sum, size) => sum + size, 0) < 500) await new Promise((resolve) => setTimeout(resolve, 10))
    second.close()
    second.closeAllConnections()
    // The first was frozen with what there was when the bridge went away.
    if (sizes.slice(1, -1).some((size) => size !== 100)) throw new Error(`transactions of ${sizes.join(', ')} events`)
    return { value }
  },
}

/** An account with this many rooms of 20 messages each, made once in a server of its own. */
const grown = new Map<number, Promise<{ load: Load; token: string; server: ServerProcess }>>()

function withRooms(world: World, count: number): Promise<{ load: Load; token: string; server: ServerProcess }> {
  let made = grown.get(count)
  if (!made) {
    made = grow(world, count)
    grown.set(count, made)
  }
  return made
}

async function grow(world: World, count: number): Promise<{ load: Load; token: string; server: ServerProcess }> {
  const server = await startProcess()
  const load = new Load(server.url)
  const login = await load.request('POST', `${v3}/login`, '', {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: server.owner.userId },
    password: server.owner.password,
  })
  const token = login['access_token'] as string
  const own: World = { ...world, server, load, token, ownerId: server.owner.userId }
  const bridgeToken = await bridge(own, 'bench', null)
  let made = 0
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (made < count) {
        const n = made++
        const ghostId = `@bench_g${n}:example.com`
        const room = (await load.request('POST', `${v3}/createRoom`, bridgeToken, portalBody(own.ownerId, [ghostId])))['room_id'] as string
        for (let i = 0; i < 20; i++) {
          await load.text(
            'PUT',
            `${v3}/rooms/${encodeURIComponent(room)}/send/m.room.message/g${i}?user_id=${encodeURIComponent(ghostId)}`,
            bridgeToken,
            message,
          )
        }
      }
    }),
  )
  return { load, token, server }
}

export async function closeGrown(): Promise<void> {
  for (const made of grown.values()) {
    const { load, server } = await made
    await load.close()
    await server.stop()
  }
}

const elementFilter = encodeURIComponent(
  JSON.stringify({ room: { timeline: { limit: 20, unread_thread_notifications: true }, state: { lazy_load_members: true } } }),
)

function initialSync(rooms: number, target: number): Row {
  return {
    name: `initial sync of ${rooms} rooms`,
    unit: 'ms',
    target,
    higherIsBetter: false,
    async measure(world) {
      const { load, token } = await withRooms(world, rooms)
      const start = performance.now()
      await load.text('GET', `${v3}/sync?filter=${elementFilter}`, token)
      return { value: performance.now() - start }
    },
  }
}

const idleSync: Row = {
  name: 'idle incremental sync, 5000 rooms',
  unit: 'ms',
  target: 1,
  higherIsBetter: false,
  async measure(world) {
    const { load, token } = await withRooms(world, 5_000)
    const since = (await load.request('GET', `${v3}/sync?filter={"room":{"rooms":[]}}`, token))['next_batch'] as string
    const times: number[] = []
    for (let i = 0; i < 200; i++) {
      const start = performance.now()
      await load.text('GET', `${v3}/sync?timeout=0&since=${since}`, token)
      times.push(performance.now() - start)
    }
    return { value: quantile(times, 0.5) }
  },
}

export const rows: readonly Row[] = [
  sends(1, 2_000),
  sends(32, 8_000),
  portals,
  largePortal,
  initialSync(500, 100),
  { ...initialSync(5_000, 1_000) },
  idleSync,
  wake(0.5, 3),
  wake(0.99, 15),
  delivery,
  comeback,
  idleMemory,
  idleInstance,
  start,
]
