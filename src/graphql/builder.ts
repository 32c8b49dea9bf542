/** The Pothos builder: context, plugins, scalars. Fields are non-null unless they say otherwise. */
import SchemaBuilder from '@pothos/core'
import RelayPlugin from '@pothos/plugin-relay'
import { Kind, type ValueNode, valueFromASTUntyped } from 'graphql'
import { MatrixError } from '../errors.ts'
import type { Json, JsonObject } from '../rules/values.ts'
import type { Context } from './context.ts'
import { JsonText } from './json-text.ts'

/** Pieces of JSON text, made ready or still being made. */
export type JsonChunks = string | readonly string[] | AsyncIterable<string>

export const builder = new SchemaBuilder<{
  Context: Context
  DefaultFieldNullability: false
  Scalars: {
    ID: { Input: string; Output: string }
    Position: { Input: number; Output: number }
    Timestamp: { Input: number; Output: number }
    JSON: { Input: Json; Output: unknown }
    JsonObject: { Input: JsonObject; Output: object | string }
    EventContent: { Input: JsonObject; Output: object | string }
    ClientEvent: { Input: never; Output: string }
    RawJson: { Input: never; Output: JsonChunks }
  }
}>({
  plugins: [RelayPlugin],
  defaultFieldNullability: false,
  relay: { cursorType: 'String', clientMutationId: 'omit', nodeQueryOptions: false, nodesQueryOptions: false },
})

builder.queryType({})
builder.mutationType({})
builder.subscriptionType({})

/** A list field takes at most this many items per page; GraphQL clients are refused more, the shim asks for less. */
export const mostItems = 1_000

builder.scalarType('Position', {
  description: 'A place in the stream of one homeserver, a whole number. Below 0: history that was prepended to a room.',
  serialize: Number,
  parseValue: (value) => wholeNumber('Position', value),
})

builder.scalarType('Timestamp', {
  description: 'Milliseconds since 1970-01-01T00:00:00Z.',
  serialize: Number,
  parseValue: (value) => wholeNumber('Timestamp', value),
})

builder.scalarType('JSON', {
  description: 'Any JSON value.',
  parseValue: (value) => json(value),
  parseLiteral: (node) => json(literal(node)),
})

builder.scalarType('JsonObject', {
  description: 'A JSON object.',
  serialize: (value) => (typeof value === 'string' ? new JsonText(value) : value),
  parseValue: (value) => jsonObject(value),
  parseLiteral: (node) => jsonObject(literal(node)),
})

builder.scalarType('EventContent', {
  description: 'The content of a Matrix event: a JSON object without fractions, and without numbers beyond ±(2^53 − 1).',
  serialize: (value) => (typeof value === 'string' ? new JsonText(value) : value),
  parseValue: (value) => eventContent(value),
  parseLiteral: (node) => eventContent(literal(node)),
})

builder.scalarType('ClientEvent', {
  description:
    'A Matrix event as the client-server API gives it to the viewer: a JSON object with event_id, room_id, sender, content, unsigned…',
  serialize: (text) => new JsonText(text),
})

builder.scalarType('RawJson', {
  description: 'A large JSON document of the Matrix API, passed through.',
  serialize: (chunks) => new JsonText(chunks),
})

function literal(node: ValueNode): unknown {
  // Numbers stay as written, or 1.0 would pass as 1.
  if (node.kind === Kind.FLOAT) return Number(node.value)
  return valueFromASTUntyped(node)
}

function wholeNumber(scalar: string, value: unknown): number {
  if (!Number.isSafeInteger(value)) throw new MatrixError('M_INVALID_PARAM', `${scalar} takes a whole number`)
  return value as number
}

function json(value: unknown): Json {
  checkTree(value, 0, false)
  return value as Json
}

function jsonObject(value: unknown, wholeNumbers = false): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new MatrixError('M_BAD_JSON', 'A JSON object is needed')
  checkTree(value, 0, wholeNumbers)
  return value as JsonObject
}

function eventContent(value: unknown): JsonObject {
  return jsonObject(value, true)
}

/** Whatever walks or writes JSON recurses. */
const deepest = 100

function checkTree(value: unknown, depth: number, wholeNumbers: boolean): void {
  if (typeof value === 'number') {
    if (wholeNumbers && !Number.isSafeInteger(value))
      throw new MatrixError('M_BAD_JSON', 'Events take whole numbers within ±(2^53 − 1) only')
  } else if (typeof value === 'object' && value !== null) {
    if (depth >= deepest) throw new MatrixError('M_BAD_JSON', 'The JSON is nested too deeply')
    for (const key in value) checkTree((value as Record<string, unknown>)[key], depth + 1, wholeNumbers)
  }
}
