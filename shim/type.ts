/**
 * TypeBox's builders, as types; at run time each makes its plain JSON schema itself. TypeBox loads its whole type system for that, which was
 * 24 MB and a fifth of a second of every start.
 */
import type { Type as TypeBox } from 'typebox'

interface Schema {
  [keyword: string]: unknown
}

const optional = new WeakSet<object>()

const builders = {
  Object(properties: Record<string, Schema>, options: Schema = {}): Schema {
    const required = Object.keys(properties).filter((name) => !optional.has(properties[name]!))
    return { type: 'object', ...(required.length > 0 ? { required } : {}), properties, ...options }
  },
  Optional(schema: Schema): Schema {
    const marked = { ...schema }
    optional.add(marked)
    return marked
  },
  String: (options: Schema = {}): Schema => ({ type: 'string', ...options }),
  Boolean: (options: Schema = {}): Schema => ({ type: 'boolean', ...options }),
  Integer: (options: Schema = {}): Schema => ({ type: 'integer', ...options }),
  Null: (): Schema => ({ type: 'null' }),
  Unknown: (): Schema => ({}),
  Literal: (value: string | number | boolean): Schema => ({ type: typeof value, const: value }),
  Array: (items: Schema, options: Schema = {}): Schema => ({ type: 'array', items, ...options }),
  Union: (anyOf: readonly Schema[], options: Schema = {}): Schema => ({ anyOf, ...options }),
  // TypeBox has '^.*$', which would let keys with a line break pass unseen.
  Record: (_key: Schema, value: Schema): Schema => ({ type: 'object', patternProperties: { '': value } }),
  Unsafe: (schema: Schema): Schema => ({ ...schema }),
}

/** As in TypeBox: `Type.Object({ typing: Type.Boolean() })`. Only these are here; one more is one more line. */
export const Type = builders as unknown as Pick<typeof TypeBox, keyof typeof builders>
