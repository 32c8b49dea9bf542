/** What says that it has no errors has none: asked by who is barely there, a ghost that is not made yet. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getNamedType, isLeafType, isRequiredArgument } from 'graphql'
import { schema } from '../../src/graphql/schema.ts'
import { startServer } from '../rig/server.ts'
import { registerBridge } from '../users/bridge.ts'

test('a query whose description says "No errors" answers a ghost that is not made yet', async () => {
  await using server = await startServer()
  const bridge = await registerBridge(server, 'unmade')
  const path = `/graphql?user_id=${encodeURIComponent(bridge.ghost(1))}`
  const wrong: string[] = []
  let asked = 0
  for (const field of Object.values(schema.getQueryType()!.getFields())) {
    if (!/\bNo errors\./.test(field.description ?? '') || field.args.some(isRequiredArgument)) continue
    asked++
    const query = `{ ${field.name}${isLeafType(getNamedType(field.type)) ? '' : ' { __typename }'} }`
    const reply = await server.request('POST', path, { query }, { token: bridge.as_token, headers: { 'content-type': 'application/json' } })
    if (reply.body.errors) wrong.push(`${field.name}: ${JSON.stringify(reply.body.errors[0])}`)
  }
  assert.deepEqual(wrong, [])
  assert.ok(asked > 3, String(asked))
})
