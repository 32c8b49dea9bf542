/** GraphQL documents made from the SDL: each root field with everything that can be selected below it, every argument a variable. */
import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLOutputType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isInputObjectType,
  isLeafType,
  isNonNullType,
  isObjectType,
} from 'graphql'
import { type Kind, kindOf } from './parameters.ts'

export type Operation = 'query' | 'mutation' | 'subscription'

export interface Variable {
  /** as the document names it */
  readonly variable: string
  readonly field: string
  readonly name: string
  readonly type: GraphQLInputType
}

export interface RootField {
  readonly operation: Operation
  readonly name: string
  readonly puppet: boolean
  readonly source: string
  readonly variables: readonly Variable[]
}

const deepest = 5

export function rootFields(schema: GraphQLSchema): RootField[] {
  return (['query', 'mutation', 'subscription'] as const).flatMap((operation) => {
    const type =
      operation === 'query' ? schema.getQueryType() : operation === 'mutation' ? schema.getMutationType() : schema.getSubscriptionType()
    return Object.values(type?.getFields() ?? {}).map((field) => rootField(schema, operation, field))
  })
}

function rootField(schema: GraphQLSchema, operation: Operation, field: GraphQLField<unknown, unknown>): RootField {
  const variables: Variable[] = []
  const text = select(schema, field, [], variables)
  const declared = variables.map(({ variable, type }) => `$${variable}: ${type}`).join(', ')
  return {
    operation,
    name: field.name,
    puppet: field.extensions['puppet'] === true,
    source: `${operation}${declared && `(${declared})`} { ${text} }`,
    variables,
  }
}

function select(schema: GraphQLSchema, field: GraphQLField<unknown, unknown>, above: readonly string[], variables: Variable[]): string {
  const path = [...above, field.name]
  const given = field.args.map((arg) => {
    const variable = [...above.slice(1), ...(above.length > 0 ? [field.name] : []), arg.name].join('_')
    variables.push({ variable, field: field.name, name: arg.name, type: argumentType(arg) })
    return `${arg.name}: $${variable}`
  })
  return `${field.name}${given.length > 0 ? `(${given.join(', ')})` : ''}${selection(schema, field.type, path, variables)}`
}

/** A default stands behind a type that takes no null: the variable may still be left out. */
function argumentType(arg: GraphQLArgument): GraphQLInputType {
  return arg.defaultValue !== undefined && isNonNullType(arg.type) ? arg.type.ofType : arg.type
}

function selection(schema: GraphQLSchema, given: GraphQLOutputType, path: readonly string[], variables: Variable[]): string {
  const type = getNamedType(given)
  if (isLeafType(type)) return ''
  if (isAbstractType(type)) {
    const parts = schema
      .getPossibleTypes(type)
      .map((each) => `... on ${each.name}${selection(schema, each, [...path, each.name], variables)}`)
    return ` { __typename ${parts.join(' ')} }`
  }
  if (!isObjectType(type)) return ''
  const parts = Object.values(type.getFields())
    // The same field again below itself says nothing new.
    .filter((field) => isLeafType(getNamedType(field.type)) || (path.length < deepest && !path.includes(field.name)))
    .map((field) => select(schema, field, path, variables))
  return ` { ${['__typename', ...parts].join(' ')} }`
}

export interface SdlParameter {
  /** the field or the input type */
  readonly owner: string
  readonly name: string
  readonly kind: Kind | null
}

/** Every argument of every field, and every field of every input type. */
export function sdlParameters(schema: GraphQLSchema): SdlParameter[] {
  const found: SdlParameter[] = []
  for (const type of Object.values(schema.getTypeMap())) {
    if (type.name.startsWith('__')) continue
    if (isObjectType(type)) {
      for (const field of Object.values(type.getFields()))
        for (const arg of field.args) found.push(parameter(field.name, arg.name, arg.type))
    } else if (isInputObjectType(type)) {
      for (const field of Object.values(type.getFields())) found.push(parameter(type.name, field.name, field.type))
    }
  }
  return found
}

function parameter(owner: string, name: string, type: GraphQLInputType): SdlParameter {
  return { owner, name, kind: kindOf(owner, name, getNamedType(type).name) }
}
