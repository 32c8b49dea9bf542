/** Fields, documents and endpoints that the real schema has no use for, to try the engine with. */

import { endpoint, fixedReply, handlerEndpoint, type NamedEndpoint } from '../../shim/endpoint.ts'
import { getTokenOwner } from '../../shim/endpoints/accounts.ts'
import { getVersions } from '../../shim/endpoints/server.ts'
import { AnyObject, EventContent } from '../../shim/shape.ts'
import { Type } from '../../shim/type.ts'
import { MatrixError } from '../../src/errors.ts'
import { builder } from '../../src/graphql/builder.ts'
import { requireActor } from '../../src/graphql/context.ts'
import type { Document } from '../../src/graphql/execute.ts'
import { guard } from '../../src/graphql/guard.ts'
import '../../src/graphql/types/server.ts'

/** What the probes did and wait for. */
export const probe = {
  seen: [] as unknown[],
  /** long polls and subscriptions that wait */
  waiting: 0,
  aborted: 0,
  wake: [] as (() => void)[],
  atWork: 0,
  mostAtWork: 0,
}

export function reset(): void {
  Object.assign(probe, { seen: [], aborted: 0, wake: [], mostAtWork: 0 })
}

const Thing = builder.inputType('ProbeThing', {
  fields: (t) => ({ name: t.string({ required: true }), others: t.field({ type: ['ID'] }) }),
})

builder.queryFields((t) => ({
  probeFail: t.field({
    type: 'Boolean',
    nullable: true,
    extensions: { puppet: true },
    args: { how: t.arg.string({ required: true }) },
    resolve(_, { how }) {
      if (how === 'forbidden') throw new MatrixError('M_FORBIDDEN', 'You may not', { soft_logout: true })
      if (how === 'limit') throw new MatrixError('M_LIMIT_EXCEEDED', 'Slowly', { retry_after_ms: 1_500 })
      throw new Error(`secret detail: ${how}`)
    },
  }),
  probeEvent: t.field({ type: 'ClientEvent', extensions: { puppet: true }, resolve: () => '{"event_id":"$1","content":{"a":1.50}}' }),
  probeRaw: t.field({
    type: 'RawJson',
    args: { fail: t.arg.boolean() },
    async *resolve(_, { fail }) {
      if (fail) throw new MatrixError('M_NOT_FOUND', 'No such document')
      yield '{"chunk":["'
      for (let i = 0; i < 100; i++) yield 'x'.repeat(1_000)
      yield '"]}'
    },
  }),
  probeWait: t.field({
    type: 'Boolean',
    async resolve(_, __, context) {
      probe.atWork++
      probe.mostAtWork = Math.max(probe.mostAtWork, probe.atWork)
      await wait(context.signal)
      probe.atWork--
      return true
    },
  }),
  probeList: t.stringList({ args: { first: t.arg.int() }, resolve: () => ['a'] }),
  probeDeep: t.field({ type: Deep(), resolve: () => ({}) }),
}))

function Deep() {
  const ref = builder.objectRef<object>('ProbeDeep')
  ref.implement({
    fields: (t) => ({
      deep: t.field({ type: ref, resolve: () => ({}) }),
      list: t.field({ type: [ref], args: { first: t.arg.int() }, resolve: () => [{}] }),
      leaf: t.int({ resolve: () => 1 }),
    }),
  })
  return ref
}

builder.mutationFields((t) => ({
  probeSend: t.field({
    type: 'ID',
    args: {
      roomId: t.arg.id({ required: true }),
      stateKey: t.arg.string(),
      content: t.arg({ type: 'EventContent', required: true }),
      thing: t.arg({ type: Thing }),
    },
    resolve(_, args, context) {
      probe.seen.push({ ...args, sender: requireActor(context).userId, instance: context.instance.name, ts: context.ts })
      return '$event'
    },
  }),
  probeLogin: t.field({
    type: 'ID',
    args: { user: t.arg.string({ required: true }) },
    resolve: (_, { user }, context) => `@${user} at ${context.instance.name}`,
  }),
}))

builder.subscriptionFields((t) => ({
  probeTicks: t.field({
    type: 'Position',
    args: { count: t.arg.int({ required: true }), fail: t.arg.boolean() },
    async *subscribe(_, { count, fail }, context) {
      requireActor(context)
      for (let i = 1; i <= count; i++) yield i
      if (fail) throw new MatrixError('M_FORBIDDEN', 'Not any more')
      await wait(context.signal)
    },
    resolve: (position) => position as number,
  }),
}))

/** Until somebody wakes it or nobody listens any more. */
async function wait(signal: AbortSignal): Promise<void> {
  probe.waiting++
  await new Promise<void>((resolve) => {
    probe.wake.push(resolve)
    signal.addEventListener('abort', () => {
      probe.aborted++
      resolve()
    })
  })
  probe.waiting--
}

function document<Result, Variables>(source: string): Document<Result, Variables> {
  return { source }
}

const send = document<{ probeSend: string }, { roomId: string; stateKey?: string | null | undefined; content: object; thing?: unknown }>(
  'mutation Send($roomId: ID!, $stateKey: String, $content: EventContent!, $thing: ProbeThing) { probeSend(roomId: $roomId, stateKey: $stateKey, content: $content, thing: $thing) }',
)

const endpoints = {
  setState: endpoint({
    method: 'PUT',
    path: '/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}',
    auth: 'accessToken',
    body: EventContent,
    operation: send,
    variables: ({ params, body }) => ({ roomId: params.roomId, stateKey: params.stateKey, content: { ...body, type: params.eventType } }),
    response: ({ probeSend }) => ({ event_id: probeSend }),
  }),
  shaped: endpoint({
    method: 'POST',
    path: '/_matrix/client/v3/probe/shaped',
    auth: 'accessToken',
    rateLimited: true,
    query: Type.Object({
      limit: Type.Optional(Type.Integer({ minimum: 1 })),
      via: Type.Optional(Type.Array(Type.String())),
      full: Type.Optional(Type.Boolean()),
    }),
    body: Type.Object({
      name: Type.String(),
      kind: Type.Optional(Type.Union([Type.Literal('a'), Type.Literal('b')])),
      data: Type.Optional(AnyObject),
    }),
    operation: send,
    variables: ({ query, body }) => ({ roomId: '!r', content: { query: JSON.stringify(query) }, thing: { name: body.name } }),
    response: () => ({}),
    status: 201,
    headers: { etag: '"1"' },
  }),
  join: endpoint({
    method: 'POST',
    path: '/_matrix/client/v3/rooms/{roomId}/join',
    auth: 'accessToken',
    body: Type.Object({ reason: Type.Optional(Type.String()) }),
    operation: send,
    variables: ({ params, body }) => ({ roomId: params.roomId, content: { reason: body.reason ?? null } }),
    response: () => ({}),
  }),
  login: endpoint({
    method: 'POST',
    path: '/_matrix/client/v3/login',
    auth: 'none',
    rateLimited: 'login',
    body: Type.Object({ user: Type.String() }),
    owner: ({ body }) => ({ localpart: body.user, domain: null }),
    operation: document<{ probeLogin: string }, { user: string }>('mutation Login($user: String!) { probeLogin(user: $user) }'),
    variables: ({ body }) => ({ user: body.user }),
    response: ({ probeLogin }) => ({ user_id: probeLogin }),
  }),
  fail: endpoint({
    method: 'GET',
    path: '/_matrix/client/v3/probe/fail/{how}',
    auth: 'accessToken',
    puppet: true,
    operation: document<{ probeFail: boolean | null }, { how: string }>('query Fail($how: String!) { probeFail(how: $how) }'),
    variables: ({ params }) => ({ how: params.how }),
    response: () => ({}),
  }),
  event: endpoint({
    method: 'GET',
    path: '/_matrix/client/v3/probe/event',
    auth: 'accessToken',
    puppet: true,
    operation: document<{ probeEvent: unknown }, object>('query Event { probeEvent }'),
    variables: () => ({}),
    response: ({ probeEvent }) => ({ start: 's1', nested: [probeEvent, probeEvent] }),
  }),
  raw: endpoint({
    method: 'GET',
    path: '/_matrix/client/v3/probe/raw',
    auth: 'accessToken',
    query: Type.Object({ fail: Type.Optional(Type.Boolean()) }),
    operation: document<{ probeRaw: unknown }, { fail?: boolean | undefined }>('query Raw($fail: Boolean) { probeRaw(fail: $fail) }'),
    variables: ({ query }) => ({ fail: query.fail }),
    response: ({ probeRaw }) => probeRaw,
  }),
  wait: endpoint({
    method: 'GET',
    path: '/_matrix/client/v3/probe/wait',
    auth: 'accessToken',
    waits: true,
    operation: document<{ probeWait: boolean }, object>('query Wait { probeWait }'),
    variables: () => ({}),
    response: () => ({}),
  }),
  work: endpoint({
    method: 'GET',
    path: '/_matrix/client/v3/probe/work',
    auth: 'accessToken',
    operation: document<{ probeWait: boolean }, object>('query Work { probeWait }'),
    variables: () => ({}),
    response: () => ({}),
  }),
  bots: fixedReply({ method: 'GET', path: '/_matrix/client/v3/probe/bots', auth: 'appservice', status: 200, body: { bots: [] } }),
  absent: fixedReply({
    method: 'GET',
    path: '/_matrix/client/v1/probe/absent',
    status: 404,
    body: { errcode: 'M_UNRECOGNIZED', error: 'Not here' },
  }),
  upload: handlerEndpoint({
    method: 'POST',
    path: '/_matrix/media/v3/probe/{mediaId}',
    auth: 'accessToken',
    bodyLimitBytes: 1_000_000,
    query: Type.Object({ filename: Type.Optional(Type.String()) }),
    async handle({ params, query, contentType, body }) {
      let length = 0
      for await (const chunk of body as AsyncIterable<Buffer>) length += chunk.length
      return { body: { length, contentType, ...params, ...query } }
    },
  }),
}

export const probeEndpoints: readonly NamedEndpoint[] = Object.entries({ ...endpoints, getVersions, getTokenOwner }).map(
  ([name, each]) => ({
    ...each,
    name,
    section: 'probe',
  }),
)

/** Without the domains: they have tests of their own. */
export const probeSchema = guard(builder.toSchema())
