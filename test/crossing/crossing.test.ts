/** Whatever id of another homeserver a request names: it reads nothing there and changes nothing there. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type GraphQLInputType, getNamedType, isEnumType, isInputObjectType } from 'graphql'
import type { NamedEndpoint } from '../../shim/endpoint.ts'
import { allEndpoints } from '../../shim/table.ts'
import { schema } from '../../src/graphql/schema.ts'
import { Client, startServer, type TestServer } from '../rig/server.ts'
import { type RootField, rootFields, sdlParameters } from './documents.ts'
import { digestOf, furnish, type Home } from './home.ts'
import { parametersOf } from './parameters.ts'
import { type Choice, restRequest, variablesOf } from './requests.ts'

/** Without a token nobody asks as somebody: an id of media is a secret of its own, which these give to whoever knows it. */
const openToAll = ['getContent', 'getContentOverrideName', 'getContentThumbnail']

/** What takes away comes last. */
const endpoints = allEndpoints.toSorted((a, b) => Number(a.method === 'DELETE') - Number(b.method === 'DELETE'))

let server: TestServer
let mine: Home
let theirs: Home
let theirRows: string

before(async () => {
  server = await startServer()
  await server.administrator.graphql('mutation { createInstance(name: "neighbour", owner: "bob") { ownerId } }')
  mine = await furnish(server, 'default')
  theirs = await furnish(server, 'neighbour')
  theirRows = await digestOf(theirs.instance)
})
after(() => server[Symbol.asyncDispose]())

test('every parameter is typed', () => {
  const untyped = [
    ...allEndpoints.flatMap((endpoint) =>
      parametersOf(endpoint).flatMap(({ place, name, kind }) => (kind ? [] : [`${endpoint.name}: ${place} ${name}`])),
    ),
    ...sdlParameters(schema).flatMap(({ owner, name, kind }) => (kind ? [] : [`${owner}.${name}`])),
  ]
  assert.deepEqual(untyped, [])
})

test('what is asked with the own ids is answered, so that the refusals below mean something', async () => {
  const answered: string[] = []
  for (const endpoint of endpoints.filter((each) => idsIn(each).length > 0 && each.kind !== 'fixed' && each.kind !== 'upgrade')) {
    await renew()
    const request = restRequest(endpoint, { from: () => mine, include: () => false })
    for (const { client, suffix } of callers(endpoint)) {
      const { status } = await client.request(endpoint.method, withSuffix(request.path, suffix), request.body)
      if (status < 300) answered.push(endpoint.name)
    }
  }
  const all = allEndpoints.filter((each) => idsIn(each).length > 0 && each.kind === 'operation')
  const silent = all.filter(({ name }) => !answered.includes(name)).map(({ name }) => name)
  assert.ok(silent.length < all.length / 4, `nothing was answered by ${silent.join(', ')}`)
})

describe('the endpoint table', () => {
  for (const endpoint of endpoints) {
    const ids = idsIn(endpoint)
    if (ids.length === 0 || endpoint.kind === 'upgrade') continue
    test(`${endpoint.name}: ${ids.join(', ')}`, async () => {
      await renew()
      for (const choice of choices(ids)) {
        const request = restRequest(endpoint, choice)
        for (const { client, suffix } of callers(endpoint)) {
          const path = withSuffix(request.path, suffix)
          const reply = await client.request(endpoint.method, path, request.body, { signal: AbortSignal.timeout(5_000) })
          if (reply.status < 400 && openToAll.includes(endpoint.name)) continue
          nothingOfTheirs(`${request.method} ${path} ${JSON.stringify(request.body)}`, reply.body)
        }
      }
      assert.equal(await digestOf(theirs.instance), theirRows)
    })
  }
})

describe('the SDL', () => {
  for (const field of rootFields(schema)) {
    const ids = idNames(field)
    if (ids.length === 0) continue
    test(`${field.operation} ${field.name}: ${ids.join(', ')}`, async () => {
      await renew()
      for (const choice of choices(ids)) {
        const variables = variablesOf(field, choice)
        for (const client of [mine.owner, new Client(() => server.url, mine.asToken, '')]) {
          const text = await ask(client, field, variables)
          nothingOfTheirs(`${field.name} ${JSON.stringify(variables)}`, text)
        }
      }
      assert.equal(await digestOf(theirs.instance), theirRows)
    })
  }
})

test('the prefix of another homeserver refuses the token', async () => {
  for (const token of [mine.owner.token, mine.asToken]) {
    for (const path of ['/_matrix/client/v3/account/whoami', '/graphql?query={whoami{userId}}']) {
      const reply = await server.client(token).request('GET', `/_hungryserv/neighbour${path}`)
      assert.deepEqual([reply.status, reply.body.errcode], [401, 'M_UNKNOWN_TOKEN'])
      nothingOfTheirs(path, reply.body)
    }
  }
})

test('a refresh token says itself whose it is, and another prefix refuses it', async () => {
  const refresh_token = theirs.ids.session[0]
  const reply = await server.request('POST', '/_hungryserv/default/_matrix/client/v3/refresh', { refresh_token })
  assert.deepEqual([reply.status, reply.body.errcode], [401, 'M_UNKNOWN_TOKEN'])
  assert.equal(await digestOf(theirs.instance), theirRows)
})

/** Each id alone is theirs, then all of them. */
function choices(ids: readonly string[]): Choice[] {
  return [
    ...ids.map((id): Choice => ({ from: (name) => (name === id ? theirs : mine), include: (name) => name === id })),
    { from: () => theirs, include: () => false },
  ]
}

function idsIn(endpoint: NamedEndpoint): string[] {
  const named = parametersOf(endpoint).filter(({ kind }) => kind !== null && kind !== 'none')
  return [...new Set(named.map(({ name }) => name))].filter((name) => !(endpoint.name === 'refresh' && name === 'refresh_token'))
}

function idNames(field: RootField): string[] {
  const names = new Set<string>()
  const known = sdlParameters(schema)
  const add = (owner: string, name: string, type: GraphQLInputType) => {
    const named = getNamedType(type)
    if (isInputObjectType(named)) for (const each of Object.values(named.getFields())) add(named.name, each.name, each.type)
    else if (!isEnumType(named) && known.some((each) => each.owner === owner && each.name === name && each.kind !== 'none')) names.add(name)
  }
  for (const { field: owner, name, type } of field.variables) add(owner, name, type)
  // A refresh token is nobody else's: see above.
  return [...names].filter((name) => !(field.name === 'refreshSession' && name === 'refreshToken'))
}

function callers(endpoint: NamedEndpoint): { client: Client; suffix: string }[] {
  const bridge = new Client(() => server.url, mine.asToken, '')
  const appservice = [
    { client: bridge, suffix: '' },
    { client: bridge, suffix: `user_id=${encodeURIComponent(mine.ghost)}` },
    { client: bridge, suffix: `user_id=${encodeURIComponent(mine.owner.userId)}` },
    { client: bridge, suffix: `user_id=${encodeURIComponent(theirs.owner.userId)}` },
    { client: bridge, suffix: `device_id=${encodeURIComponent(String(theirs.ids.device[0]))}` },
  ]
  return endpoint.auth === 'appservice' ? appservice : [{ client: mine.owner, suffix: '' }, ...appservice]
}

function withSuffix(path: string, suffix: string): string {
  return suffix ? `${path}${path.includes('?') ? '&' : '?'}${suffix}` : path
}

/** The first answer of a subscription, or what it says in a quarter of a second; the whole answer of anything else. */
async function ask(client: Client, field: RootField, variables: Record<string, unknown>): Promise<string> {
  const streams = field.operation === 'subscription'
  const body = JSON.stringify({ query: field.source, variables })
  const response = await fetch(`${server.url}/graphql`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${client.token}`,
      'content-type': 'application/json',
      accept: streams ? 'text/event-stream' : 'application/json',
    },
    body,
    ...(streams && { signal: AbortSignal.timeout(250) }),
  }).catch(() => null)
  return (await response?.text().catch(() => '')) ?? ''
}

/** The mark stands in all that they stored; of their ids these are named by no request here. */
function nothingOfTheirs(request: string, answer: unknown): void {
  const text = typeof answer === 'string' ? answer : JSON.stringify(answer)
  const ids = [...theirs.ids.room.slice(1), ...theirs.ids.event.slice(2), ...theirs.ids.device.slice(1), ...theirs.ids.media.slice(1)]
  for (const secret of [theirs.mark, ...ids.map(String), theirs.asToken, theirs.owner.token, theirs.person.token]) {
    assert.ok(!text.includes(secret), `${request} answers with ${secret}:\n${text.slice(0, 1_000)}`)
  }
}

let turns = 0

/** Some operations end the session or the bridge that asks, or leave the room: then another home is made. */
async function renew(): Promise<void> {
  const room = encodeURIComponent(mine.ids.room[0]!)
  const [owner, bot, bridge] = await Promise.all([
    mine.owner.get(`/rooms/${room}/joined_members`),
    server.client(mine.asToken).get(`/rooms/${room}/state/m.room.member/${encodeURIComponent(mine.owner.userId)}`),
    server.client(mine.asToken).get('/account/whoami'),
  ])
  if (owner.status === 200 && bot.status === 200 && bridge.status === 200) return
  mine = await furnish(server, 'default', ++turns)
}
