/** Checked by the compiler: each line below `@ts-expect-error` must be an error. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoint, graphql } from '../../shim/endpoint.ts'
import { Type } from '../../shim/type.ts'
import type { Document } from '../../src/graphql/execute.ts'

const operation: Document<{ readonly setTyping: boolean }, { readonly roomId: string; readonly timeoutMs?: number | null | undefined }> = {
  source: 'mutation SetTyping { setTyping }',
}
const route = { method: 'PUT', path: '/_matrix/client/v3/rooms/{roomId}/typing', auth: 'accessToken', operation } as const
const body = Type.Object({ timeout: Type.Optional(Type.Integer()) })

test('a wrong path parameter, body field, variable or result field is a compile error', () => {
  const right = endpoint({
    ...route,
    body,
    variables: ({ params, body }) => ({ ...params, timeoutMs: body.timeout }),
    response: ({ setTyping }) => ({ setTyping }),
  })
  assert.equal(right.path, route.path)

  // @ts-expect-error the path has no userId
  endpoint({ ...route, body, variables: ({ params }) => ({ roomId: params.userId }), response: () => ({}) })
  // @ts-expect-error the body has no timeoutMs
  endpoint({ ...route, body, variables: ({ params, body }) => ({ ...params, timeoutMs: body.timeoutMs }), response: () => ({}) })
  // @ts-expect-error the operation takes no timeout
  endpoint({ ...route, body, variables: ({ params, body }) => ({ ...params, timeout: body.timeout }), response: () => ({}) })
  // @ts-expect-error the operation needs a roomId
  endpoint({ ...route, body, variables: () => ({}), response: () => ({}) })
  // @ts-expect-error a text is no number
  endpoint({ ...route, body, variables: ({ params }) => ({ ...params, timeoutMs: 'soon' }), response: () => ({}) })
  // @ts-expect-error the result has no typing
  endpoint({ ...route, body, variables: ({ params }) => params, response: ({ typing }) => ({ typing }) })
  // @ts-expect-error no such field in the schema, or codegen did not run
  graphql(`query Nothing { nothing }`)
})
